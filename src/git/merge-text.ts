import { diffLines } from './line-diff.ts'
import type { Hunk } from './line-diff.ts'

export type TextMerge =
  | { readonly kind: 'clean'; readonly content: Uint8Array }
  | { readonly kind: 'conflict' }

/** Git looks this far for the NUL that makes a file a binary one. */
const BINARY_BYTES = 8000

/**
 * Merges two changes of a text line by line, by the rules of `git merge`: changes that touch each
 * other are a conflict unless they are the same. A binary file that both have changed is one.
 */
export function mergeText(base: Uint8Array, ours: Uint8Array, theirs: Uint8Array): TextMerge {
  if ([base, ours, theirs].some(isBinary)) return { kind: 'conflict' }
  const [before, one, other] = [linesOf(base), linesOf(ours), linesOf(theirs)]
  const merges = mergeHunks(
    { hunks: diffLines(before, one), lines: one },
    { hunks: diffLines(before, other), lines: other },
  )
  const merged: string[] = []
  let at = 0
  for (const merge of merges) {
    if (merge.kind === 'both') {
      if (!isSame(one, other, merge)) return { kind: 'conflict' }
      continue
    }
    if (merge.kind === 'ours') continue
    merged.push(...one.slice(at, merge.oursAt))
    merged.push(...other.slice(merge.theirsAt, merge.theirsAt + merge.theirsCount))
    at = merge.oursAt + merge.oursCount
  }
  merged.push(...one.slice(at))
  return { kind: 'clean', content: Buffer.from(merged.join(''), 'latin1') }
}

function isBinary(bytes: Uint8Array): boolean {
  return bytes.subarray(0, BINARY_BYTES).includes(0)
}

/** Each with its line feed, byte by byte: any encoding passes through unchanged. */
function linesOf(bytes: Uint8Array): readonly string[] {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
  return text === '' ? [] : text.split(/(?<=\n)/)
}

/** Lines that one side, the other or both have changed, by their places in what either side says. */
interface Merge {
  readonly kind: 'ours' | 'theirs' | 'both'
  readonly oursAt: number
  readonly oursCount: number
  readonly theirsAt: number
  readonly theirsCount: number
}

interface Changes {
  readonly hunks: readonly Hunk[]
  readonly lines: readonly string[]
}

function mergeHunks(ours: Changes, theirs: Changes): readonly Merge[] {
  const merges: Merge[] = []
  let [one, other] = [0, 0]
  let ahead: Ahead = { ours: 0, theirs: 0 }
  for (;;) {
    const our = ours.hunks[one]
    const their = theirs.hunks[other]
    if (!our && !their) return merges
    const next = mergeOf(our, their, ahead)
    const isAgreed = next?.kind === 'both' && isSameChange(ours.lines, theirs.lines, [our, their])
    if (next && !isAgreed) append(merges, next)
    const [ourEnd, theirEnd] = [endOf(our), endOf(their)]
    if (our && ourEnd <= theirEnd) {
      ahead = { ...ahead, ours: aheadAfter(our) }
      one += 1
    }
    if (their && theirEnd <= ourEnd) {
      ahead = { ...ahead, theirs: aheadAfter(their) }
      other += 1
    }
  }
}

/** By how much a place on either side is ahead of the same place on the base. */
interface Ahead {
  readonly ours: number
  readonly theirs: number
}

/** The first of two hunks, or both where they touch each other. */
function mergeOf(our: Hunk | undefined, their: Hunk | undefined, ahead: Ahead): Merge | undefined {
  if (our && (!their || isBefore(our, their))) return onlyOurs(our, ahead.theirs)
  if (their && (!our || isBefore(their, our))) return onlyTheirs(their, ahead.ours)
  return our && their && overlap(our, their)
}

/** Whether a line that neither has changed stands between them. */
function isBefore(one: Hunk, other: Hunk): boolean {
  return endOf(one) < other.oldAt
}

/** Where a hunk ends on the base; one that is not there ends behind all others. */
function endOf(hunk: Hunk | undefined): number {
  return hunk ? hunk.oldAt + hunk.oldCount : Infinity
}

function onlyOurs({ oldAt, oldCount, newAt, newCount }: Hunk, theirsAhead: number): Merge {
  const ours = { oursAt: newAt, oursCount: newCount }
  return { kind: 'ours', ...ours, theirsAt: oldAt + theirsAhead, theirsCount: oldCount }
}

function onlyTheirs({ oldAt, oldCount, newAt, newCount }: Hunk, oursAhead: number): Merge {
  const theirs = { theirsAt: newAt, theirsCount: newCount }
  return { kind: 'theirs', ...theirs, oursAt: oldAt + oursAhead, oursCount: oldCount }
}

function aheadAfter({ oldAt, oldCount, newAt, newCount }: Hunk): number {
  return newAt + newCount - oldAt - oldCount
}

/** Both hunks, widened to the same lines of the base. */
function overlap(our: Hunk, their: Hunk): Merge {
  const from = Math.min(our.oldAt, their.oldAt)
  const to = Math.max(our.oldAt + our.oldCount, their.oldAt + their.oldCount)
  const oursAt = our.newAt - (our.oldAt - from)
  const theirsAt = their.newAt - (their.oldAt - from)
  return {
    kind: 'both',
    oursAt,
    oursCount: our.newAt + our.newCount + (to - our.oldAt - our.oldCount) - oursAt,
    theirsAt,
    theirsCount: their.newAt + their.newCount + (to - their.oldAt - their.oldCount) - theirsAt,
  }
}

/** Adds a merge; one that touches the last one becomes a part of it. */
function append(merges: Merge[], next: Merge): void {
  const last = merges.at(-1)
  const touches =
    last !== undefined &&
    (next.oursAt <= last.oursAt + last.oursCount ||
      next.theirsAt <= last.theirsAt + last.theirsCount)
  if (!touches) {
    merges.push(next)
    return
  }
  merges[merges.length - 1] = {
    kind: next.kind === last.kind ? last.kind : 'both',
    oursAt: last.oursAt,
    oursCount: next.oursAt + next.oursCount - last.oursAt,
    theirsAt: last.theirsAt,
    theirsCount: next.theirsAt + next.theirsCount - last.theirsAt,
  }
}

function isSameChange(
  ours: readonly string[],
  theirs: readonly string[],
  [our, their]: readonly [Hunk | undefined, Hunk | undefined],
): boolean {
  if (!our || !their) return false
  if (our.oldAt !== their.oldAt || our.oldCount !== their.oldCount) return false
  if (our.newCount !== their.newCount) return false
  return isSame(ours, theirs, {
    oursAt: our.newAt,
    oursCount: our.newCount,
    theirsAt: their.newAt,
    theirsCount: their.newCount,
  })
}

function isSame(
  ours: readonly string[],
  theirs: readonly string[],
  { oursAt, oursCount, theirsAt, theirsCount }: Omit<Merge, 'kind'>,
): boolean {
  if (oursCount !== theirsCount) return false
  for (let index = 0; index < oursCount; index += 1) {
    if (ours[oursAt + index] !== theirs[theirsAt + index]) return false
  }
  return true
}
