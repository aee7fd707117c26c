import { stat, readFile } from 'node:fs/promises'
import { ConfigError, messageOf } from '../errors.ts'
import type { EnvironmentName } from '../ids.ts'
import type { Diagnostic } from '../workflow/diagnostic.ts'
import type { Policy } from '../workflow/environment.ts'
import { parsePolicies } from '../workflow/environment-file.ts'
import type { Looking } from './settle.ts'
import { listKnownEnvironments } from './store.ts'
import type { KnownEnvironment } from './store.ts'

/** Marks what is wrong with the file of policies. */
export const POLICY_FILE_INVALID = 'policy_file_invalid'

/** What a file of policies outside of the repository says. */
export interface PolicyFile {
  /** What the file looked like when it was read. */
  readonly mark: string
  /** Those that were last good. */
  readonly policies: Readonly<Record<string, Partial<Policy>>>
  /** What is wrong with it by now. */
  readonly problems: readonly Diagnostic[]
}

/** What a file looks like from outside; another mark means that it was changed. */
export async function markOf(path: string): Promise<string> {
  const found = await stat(path, { bigint: true }).catch((error: unknown) => messageOf(error))
  if (typeof found === 'string') return found
  return [found.mtimeNs, found.ctimeNs, found.size, found.ino].join(':')
}

/**
 * Reads a file of policies where it is another one than `before`. What is broken leaves the last
 * good policies in force. Throws a `ConfigError` with its place where none were ever good.
 */
export async function readPolicyFile(path: string, before: PolicyFile | null): Promise<PolicyFile> {
  const mark = await markOf(path)
  if (before?.mark === mark) return before
  const read = await parseFile(path)
  if (read.kind === 'policies') return { mark, policies: read.policies, problems: [] }
  if (before) return { mark, policies: before.policies, problems: read.diagnostics }
  const lines = read.diagnostics.map(
    ({ line, column, message }) => `${path}:${line}:${column} ${message}`,
  )
  throw new ConfigError(`the policy file is broken\n${lines.join('\n')}`)
}

async function parseFile(path: string): Promise<ReturnType<typeof parsePolicies>> {
  try {
    return parsePolicies(path, await readFile(path))
  } catch (error) {
    const message = `it cannot be read: ${messageOf(error)}`
    const place = {
      path,
      line: 1,
      column: 1,
      code: POLICY_FILE_INVALID,
      severity: 'error',
    } as const
    return { kind: 'invalid', diagnostics: [{ ...place, message }] }
  }
}

/** Looks whether the file of policies has changed, and says where it is broken by now. */
export async function lookAtPolicyFile({ policyFile, memory, log }: Looking): Promise<void> {
  if (policyFile === null) return
  const before = memory.policyFile
  const now = await readPolicyFile(policyFile, before)
  if (now === before) return
  memory.policyFile = now
  const problems = now.problems.map(
    ({ path, line, column, message }) => `${path}:${line}:${column} ${message}`,
  )
  if (problems.length > 0) {
    log.warn('the policy file is broken; what it said before still holds', { problems })
  } else if (before) log.info('the policy file was read anew', { path: policyFile })
}

/**
 * What is known of the environments, under the policies that hold: those of the file outside of the
 * repository before those that are declared. One comes behind that from which it is promoted.
 */
export async function listGuarded({ database, memory }: Looking): Promise<KnownEnvironment[]> {
  const policies = memory.policyFile?.policies ?? {}
  const known = (await listKnownEnvironments(database)).map((row) => {
    const own = Object.hasOwn(policies, row.name) ? policies[row.name] : undefined
    if (!own) return row
    return {
      ...row,
      policy: { ...row.policy, ...own },
      policyBefore: { ...row.policyBefore, ...own },
    }
  })
  return inOrderOfPromotion(known)
}

/** Sources first, else by name. Environments in a circle stay where they are. */
function inOrderOfPromotion(known: readonly KnownEnvironment[]): KnownEnvironment[] {
  const byName = new Map<EnvironmentName, KnownEnvironment>(known.map((row) => [row.name, row]))
  const ordered = new Set<KnownEnvironment>()
  const visited = new Set<KnownEnvironment>()
  const visit = (row: KnownEnvironment) => {
    if (visited.has(row)) return
    visited.add(row)
    const from = row.policy.promotes_from
    const source = from === null ? undefined : byName.get(from)
    if (source) visit(source)
    ordered.add(row)
  }
  for (const row of known) visit(row)
  return [...ordered]
}
