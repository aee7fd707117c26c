import { readFile } from 'node:fs/promises'
import { ConfigError, messageOf, unreachable } from '../errors.ts'
import { commitsBetween } from '../git/history.ts'
import type { Commit } from '../git/history.ts'
import { authorOf, verifyCommit } from '../git/signature.ts'
import { checkKeys } from '../git/signature-openpgp.ts'
import { parseSigners } from '../git/signature-signers.ts'
import type { Signers } from '../git/signature-signers.ts'
import type { Revision } from '../ids.ts'
import type { Descent } from './history-guard.ts'
import { markOf } from './policy-file.ts'
import type { Looking } from './settle.ts'
import { short } from './status.ts'

/** Who may sign, as the files outside of the repository say. */
export interface KnownSigners {
  /** What the files looked like when they were read. */
  readonly mark: string
  readonly signers: Signers
  /** Why nobody is known to; null where the files were read. */
  readonly problem: string | null
}

/** Reads the lists of signers where they are others than those read last. */
export async function readSigners({ allowedSigners, memory }: Looking): Promise<KnownSigners> {
  const mark = (await Promise.all(allowedSigners.map(markOf))).join('\n')
  if (memory.signers?.mark !== mark) memory.signers = await load(allowedSigners, mark)
  return memory.signers
}

async function load(paths: readonly string[], mark: string): Promise<KnownSigners> {
  const all: Signers[] = []
  try {
    if (paths.length === 0) throw new ConfigError('BELFRY_ALLOWED_SIGNERS names no file')
    for (const path of paths) all.push(await loadOne(path))
  } catch (error) {
    return { mark, signers: NOBODY, problem: messageOf(error) }
  }
  const ssh = all.flatMap((one) => one.ssh)
  const openPgp = all.flatMap((one) => one.openPgp)
  return { mark, signers: { ssh, openPgp }, problem: null }
}

async function loadOne(path: string): Promise<Signers> {
  const signers = parseSigners(path, await readFile(path, 'utf8'))
  for (const keys of signers.openPgp) {
    await checkKeys(keys).catch((error: unknown) => {
      throw new ConfigError(`${path} holds OpenPGP keys that are broken: ${messageOf(error)}`)
    })
  }
  return signers
}

const NOBODY: Signers = { ssh: [], openPgp: [] }

/** A commit whose signature does not count. */
export interface Unsigned {
  readonly commit: Revision
  /** Which, whose, and why. */
  readonly why: string
}

/** What the signatures of a revision are worth. */
export interface Signed {
  /** Oldest first. */
  readonly unsigned: readonly Unsigned[]
  /** Who has signed the revision itself; null where nobody has. */
  readonly signer: string | null
}

/**
 * Checks every commit that a revision brings beside what was applied before, merged ones included;
 * where nothing was, the revision's own alone. Throws a `RetryableFailure` where one cannot be read.
 */
export async function checkSignatures(
  { repository }: Looking,
  signers: Signers,
  { revision, descent }: { readonly revision: Revision; readonly descent: Descent },
): Promise<Signed> {
  const tip = await repository.commit(revision)
  const base = baseOf(descent)
  const commits = base === null ? [tip] : await commitsBetween(repository, [base], revision)
  const found: Unsigned[] = []
  for (const commit of commits) {
    const verdict = await verifyCommit(commit, signers)
    if (verdict.kind === 'bad') found.push({ commit: commit.id, why: sayWhy(commit, verdict) })
  }
  const own = await verifyCommit(tip, signers)
  return { unsigned: found.toReversed(), signer: own.kind === 'good' ? own.signer : null }
}

function baseOf(descent: Descent): Revision | null {
  switch (descent.kind) {
    case 'first':
      return null
    case 'descends':
      return descent.from
    case 'rewritten':
      return descent.base
    case 'unknown':
      throw descent.cause
    default:
      return unreachable(descent)
  }
}

function sayWhy(commit: Commit, { message }: { readonly message: string }): string {
  return `${short(commit.id)} by ${authorOf(commit.bytes)}: ${message}`
}
