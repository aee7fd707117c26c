import type { Transaction } from '../db/database.ts'
import { unreachable } from '../errors.ts'
import { DESCRIPTION_LENGTH_MAX } from '../forges/forge.ts'
import type { EnvironmentName, Revision } from '../ids.ts'
import type { Diagnostic } from '../workflow/diagnostic.ts'
import { saveStatuses } from './outbox-store.ts'
import type { Said } from './outbox-store.ts'
import type { Status } from './status.ts'

/** Who speaks on the forge; null where nobody does. */
export interface Announcing {
  /** The first part of each context. */
  readonly instance: string
}

/** What is checked of a commit for an environment. */
export type Check = 'validate' | 'plan' | 'applied'

/** What was found out about a revision that an environment is to have. */
export interface Finding {
  readonly environment: EnvironmentName
  readonly gitRef: string
  readonly revision: Revision
  readonly status: Status
  readonly diagnostics: readonly Diagnostic[]
  readonly now: Date
}

/**
 * Notes what the forge is to be told of a revision, in the transaction that settles it. A working
 * tree's is no commit that a forge could know.
 */
export async function announce(
  tx: Transaction,
  announcing: Announcing | null,
  { environment, gitRef, revision, now, ...found }: Finding,
): Promise<void> {
  if (announcing === null || !isCommit(revision)) return
  const said = wordsOf(found).map(({ check, ...rest }) => ({
    ...rest,
    context: contextOf(announcing, environment, check),
  }))
  if (said.length > 0) await saveStatuses(tx, { environment, sha: revision, gitRef, now }, said)
}

/** Notes that a revision is live no more although nothing newer is: a pin stands in its place. */
export async function announceReplaced(
  tx: Transaction,
  announcing: Announcing | null,
  { environment, gitRef, revision, now }: Omit<Finding, 'status' | 'diagnostics'>,
): Promise<void> {
  if (announcing === null || !isCommit(revision)) return
  const context = contextOf(announcing, environment, 'applied')
  const description = 'Taken back: an earlier revision is pinned in its place.'
  const said: Said = { context, state: 'failure', description, restarts: false }
  await saveStatuses(tx, { environment, sha: revision, gitRef, now }, [said])
}

/** `<instance>/<environment>/<check>`. */
export function contextOf(
  { instance }: Announcing,
  environment: EnvironmentName,
  check: Check,
): string {
  return `${instance}/${environment}/${check}`
}

/** Whether a revision is a commit, which a forge may know. */
export function isCommit(revision: string): boolean {
  return /^[0-9a-f]{40}$/.test(revision)
}

/** A description in one line, within the bound of every forge, that Postgres can store. */
export function descriptionOf(text: string): string {
  const line = text.replaceAll('\0', '\uFFFD').toWellFormed().replace(/\s+/g, ' ').trim()
  const letters = Array.from(line)
  if (letters.length <= DESCRIPTION_LENGTH_MAX) return line
  return `${letters.slice(0, DESCRIPTION_LENGTH_MAX - 1).join('')}…`
}

interface Word extends Omit<Said, 'context'> {
  readonly check: Check
}

/** Texts hold no times and no counts of attempts, so that the same finding is always the same text. */
function wordsOf({ status, diagnostics }: Pick<Finding, 'status' | 'diagnostics'>): Word[] {
  switch (status.state) {
    case 'reconciling': {
      if (status.reason !== 'progressing') return []
      return [word('applied', 'pending', 'The revision is being read and checked.')]
    }
    case 'ready':
      return [validity(diagnostics), word('applied', 'success', 'The revision was applied.')]
    case 'stalled': {
      const refusal = status.reason === 'invalid_files' ? 'it is not valid.' : status.message
      return [validity(diagnostics), word('applied', 'failure', `Refused: ${refusal}`)]
    }
    case 'waiting': {
      // Of a branch that is not there nothing was found out.
      if (status.reason !== 'soaking') return []
      const text = 'It waits until its content was live long enough where it comes from.'
      return [validity(diagnostics), { ...word('applied', 'pending', text), restarts: true }]
    }
    case 'suspended':
      return []
    default:
      return unreachable(status)
  }
}

function validity(diagnostics: readonly Diagnostic[]): Word {
  const errors = diagnostics.filter(({ severity }) => severity === 'error')
  const [first] = errors
  if (!first)
    return word('validate', 'success', `The files are valid${noteOf(diagnostics.length)}.`)
  const more = errors.length === 1 ? '' : ` (and ${errors.length - 1} more)`
  const place = `${first.path}:${first.line}:${first.column}`
  return word('validate', 'failure', `${place}${more} ${first.message}`)
}

function noteOf(warnings: number): string {
  if (warnings === 0) return ''
  return warnings === 1 ? ', with a warning' : `, with ${warnings} warnings`
}

function word(check: Check, state: Said['state'], text: string): Word {
  return { check, state, description: descriptionOf(text), restarts: false }
}
