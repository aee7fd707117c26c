import { isDeepStrictEqual } from 'node:util'
import { RetryableFailure } from '../errors.ts'
import { hasTrailer } from '../git/message.ts'
import type { RevisionTree } from '../git/source.ts'
import type { EnvironmentName, Revision } from '../ids.ts'
import { warningAt } from '../workflow/diagnostic.ts'
import type { Diagnostic } from '../workflow/diagnostic.ts'
import type { Policy } from '../workflow/environment.ts'
import { isConfirmed } from './brake-store.ts'
import { findDescent } from './history-guard.ts'
import type { Descent } from './history-guard.ts'
import {
  findSequence,
  listLiveContentNewTo,
  listNewContent,
  listWorkflowsAt,
} from './history-store.ts'
import type { NewContent } from './history-store.ts'
import { planPrune } from './plan.ts'
import type { Prune } from './plan.ts'
import type { Looking } from './settle.ts'
import { checkSignatures, readSigners } from './signature-guard.ts'
import type { Snapshot } from './snapshot.ts'
import { durationText, listUnsoaked, readyAt } from './soak.ts'
import type { Unsoaked } from './soak.ts'
import {
  ALLOW_PRUNE,
  historyRewritten,
  outOfOrder,
  pruneGuard,
  signersUnreadable,
  soaking,
  unsigned,
} from './status.ts'
import type { HeldBack, Status } from './status.ts'
import type { KnownEnvironment } from './store.ts'

/** Marks what a policy has found in a revision. */
const OUT_OF_ORDER = 'out_of_order'
const UNSIGNED = 'unsigned'

/** A revision without errors, as it was read. */
export interface Guarded {
  readonly tree: RevisionTree
  readonly snapshot: Snapshot
}

/** What the policies of an environment say to a revision. */
export type Judgement =
  | { readonly kind: 'held'; readonly status: Status; readonly diagnostics: readonly Diagnostic[] }
  | {
      readonly kind: 'passed'
      readonly warnings: readonly Diagnostic[]
      readonly rewrittenFrom: Revision | null
      readonly signer: string | null
    }

/** What a revision is that no policy is asked about. */
export const UNGUARDED: Extract<Judgement, { kind: 'passed' }> = {
  kind: 'passed',
  warnings: [],
  rewrittenFrom: null,
  signer: null,
}

/**
 * The policy that a revision is held to, null for one that is yet to come: never to one that it brings itself.
 * On the default branch a policy counts once a revision that declares it was applied under the one before, so that
 * what was held back does not get through with whatever is committed on top. There is nothing to keep before the first.
 */
export function policyFor(
  { policy, policyBefore, policyRevision, followsDefault, sequence }: KnownEnvironment,
  revision: Revision | null,
): Policy {
  const isOwn = followsDefault && sequence !== '0'
  return isOwn || (revision !== null && revision === policyRevision) ? policyBefore : policy
}

function heldBack(row: KnownEnvironment, revision: Revision): HeldBack {
  const isPolicyNew = !isDeepStrictEqual(policyFor(row, revision), row.policy)
  return { environment: row.name, revision, live: row.observed, isPolicyNew }
}

/** All that a judgement depends on beside the revision: when that is another, it is judged anew. */
export async function circumstances(
  looking: Looking,
  row: KnownEnvironment,
  revision: Revision,
): Promise<string> {
  const policy = policyFor(row, revision)
  const { promotes_from: from, promotion, signatures } = policy
  const applied =
    from === null || promotion === 'off' ? null : await findSequence(looking.database, from)
  const signers = signatures === 'off' ? null : (await readSigners(looking)).mark
  return JSON.stringify([policy, applied, signers])
}

/** Asks each policy of the environment whether the revision may be applied. */
export async function guardRevision(
  looking: Looking,
  row: KnownEnvironment,
  read: Guarded,
): Promise<Judgement> {
  const { revision } = read.tree
  const descent = await findDescent(looking, row, revision)
  const signed = await guardSignatures(looking, row, { revision, descent })
  if (signed.kind === 'held') return signed
  const rewritten = await guardHistory(looking, row, { revision, descent })
  if (rewritten.kind === 'held') return rewritten
  const promoted = await guardPromotion(looking, row, read)
  if (promoted.kind === 'held') return promoted
  const held = heldBack(row, revision)
  const prune = await findUnallowedPrune(looking, row, read)
  if (prune !== null) return { kind: 'held', status: pruneGuard(held, prune), diagnostics: [] }
  const warnings = [...signed.warnings, ...promoted.warnings]
  const { rewrittenFrom } = rewritten
  return { kind: 'passed', warnings, rewrittenFrom, signer: signed.signer }
}

interface Coming {
  readonly revision: Revision
  readonly descent: Descent
}

async function guardSignatures(
  looking: Looking,
  row: KnownEnvironment,
  { revision, descent }: Coming,
): Promise<Judgement> {
  const { signatures } = policyFor(row, revision)
  if (signatures === 'off') return UNGUARDED
  const held = heldBack(row, revision)
  const isEnforced = signatures === 'enforce'
  const { signers, problem } = await readSigners(looking)
  if (problem !== null) {
    if (isEnforced) {
      return { kind: 'held', status: signersUnreadable(held, problem), diagnostics: [] }
    }
    return { ...UNGUARDED, warnings: [unsignedAt(row.name, problem)] }
  }
  try {
    const found = await checkSignatures(looking, signers, { revision, descent })
    const { signer } = found
    const [first] = found.unsigned
    if (!first) return { ...UNGUARDED, signer }
    const warnings = found.unsigned.map(({ why }) => unsignedAt(row.name, `the commit ${why}`))
    if (!isEnforced) return { ...UNGUARDED, signer, warnings }
    const count = found.unsigned.length
    const status = unsigned(held, { count, why: first.why })
    return { kind: 'held', status, diagnostics: warnings.map(asError) }
  } catch (error) {
    if (isEnforced || !(error instanceof RetryableFailure)) throw error
    return { ...UNGUARDED, warnings: [unsignedAt(row.name, error.message)] }
  }
}

/** A commit is no file; the environment's own stands for it. */
function unsignedAt(environment: EnvironmentName, message: string): Diagnostic {
  const path = `environments/${environment}.yaml`
  return warningAt(path, { line: 1, column: 1 }, { code: UNSIGNED, message })
}

function asError(diagnostic: Diagnostic): Diagnostic {
  return { ...diagnostic, severity: 'error' }
}

async function guardHistory(
  { database }: Looking,
  row: KnownEnvironment,
  { revision, descent }: Coming,
): Promise<Judgement> {
  const { history } = policyFor(row, revision)
  if (descent.kind === 'unknown' && history !== 'apply') throw descent.cause
  if (descent.kind !== 'rewritten') return UNGUARDED
  const { from } = descent
  const passed: Judgement = { ...UNGUARDED, rewrittenFrom: from }
  if (history === 'apply') return passed
  const isFinal = history === 'refuse'
  const confirmation = { kind: 'allow_rewrite', revision } as const
  if (!isFinal && (await isConfirmed(database, row.name, confirmation))) return passed
  const held = heldBack(row, revision)
  return { kind: 'held', status: historyRewritten(held, { from, isFinal }), diagnostics: [] }
}

async function guardPromotion(
  looking: Looking,
  row: KnownEnvironment,
  { tree, snapshot }: Guarded,
): Promise<Judgement> {
  const { database, clock, memory } = looking
  const { revision, directories } = tree
  const { promotes_from: from, promotion, soak } = policyFor(row, revision)
  if (from === null || promotion === 'off' || snapshot.versions.length === 0) return UNGUARDED
  const rows = snapshot.versions.map(({ key, id }) => {
    return { key, versionId: id, tree: directories.get(key) ?? '' }
  })
  const places = { environment: row.name, from }
  const never = await listNewContent(database, places, rows)
  const now = clock.now()
  const unsoaked =
    soak === undefined ? [] : await listUnsoaked(database, { ...places, soak, now }, rows)
  if (never.length + unsoaked.length === 0) return UNGUARDED
  const text = soak === undefined ? null : durationText(soak)
  const warnings = [
    ...never.map((one) => outOfOrderAt(from, one)),
    ...unsoaked.map((one) => unsoakedAt(from, text, one)),
  ]
  // Nothing is live yet that could be kept instead, so the first revision is where it begins.
  if (promotion === 'warn' || row.sequence === '0') return { ...UNGUARDED, warnings }
  const held = heldBack(row, revision)
  const until = never.length > 0 ? undefined : readyAt(unsoaked)
  if (until !== undefined) {
    memory.soakingUntil.set(row.name, until)
    const keys = unsoaked.map(({ key }) => key)
    const status = soaking(held, { keys, from, soak: text, until })
    return { kind: 'held', status, diagnostics: warnings }
  }
  const lost = unsoaked.filter((one) => one.readyAt === null)
  const keys = [...never, ...lost].map(({ key }) => key)
  const diagnostics = warnings.map(asError)
  return { kind: 'held', status: outOfOrder(held, { keys, from, soak: text }), diagnostics }
}

function unsoakedAt(
  from: EnvironmentName,
  soak: string | null,
  { key, readyAt: at }: Unsoaked,
): Diagnostic {
  const when = at === null ? 'and is not any more' : `and will have been at ${at.toISOString()}`
  const message = `this content was not live in "${from}" for ${soak}, ${when}`
  const path = `workflows/${key}/workflow.yaml`
  return warningAt(path, { line: 1, column: 1 }, { code: OUT_OF_ORDER, message })
}

function outOfOrderAt(from: EnvironmentName, { key, isDirectoryKnown }: NewContent): Diagnostic {
  const what = isDirectoryKnown
    ? 'with these layouts, partials or translations, the workflow was'
    : 'this content was'
  const message = `${what} never applied in "${from}", from which the environment is promoted`
  const hint = `Merge it into the branch of "${from}" too.`
  const path = `workflows/${key}/workflow.yaml`
  return warningAt(path, { line: 1, column: 1 }, { code: OUT_OF_ORDER, message, hint })
}

/** Diagnostics that are not about the files of a revision. */
export function isOfPolicy({ code }: Diagnostic): boolean {
  return code === OUT_OF_ORDER || code === UNSIGNED
}

/** The warnings of policies about what is live that still hold, where the revision leaves it as it is. */
export async function keptPolicyWarnings(
  { database }: Looking,
  row: KnownEnvironment,
  { tree, snapshot }: Guarded,
): Promise<readonly Diagnostic[]> {
  const warnings = row.diagnostics.filter((one) => one.severity === 'warning' && isOfPolicy(one))
  if (warnings.length === 0) return []
  const isLive = tree.revision === row.observed
  const { promotes_from: from, promotion } = policyFor(row, tree.revision)
  const changed = new Set<string>(snapshot.versions.map(({ key }) => key))
  const left = snapshot.plan.same.filter((key) => isLive || !changed.has(key))
  const isAsked = from !== null && promotion !== 'off'
  const places = { environment: row.name, from: from ?? row.name }
  const keys = isAsked ? await listLiveContentNewTo(database, places, left) : []
  const paths = new Set(keys.map((key) => `workflows/${key}/workflow.yaml`))
  return warnings.filter(({ code, path }) => (code === UNSIGNED ? isLive : paths.has(path)))
}

/** What a revision would archive beyond its policy, neither by its own word nor by an operator's. */
async function findUnallowedPrune(
  { database }: Looking,
  row: KnownEnvironment,
  { tree, snapshot }: Guarded,
): Promise<Prune | null> {
  const { revision, message, directories } = tree
  const { archived, changed, same } = snapshot.plan
  // After a pin a tip is compared with what the branch had last, and not with what the pin brought.
  const live =
    row.followed === row.sequence
      ? [...archived, ...changed, ...same]
      : (await listWorkflowsAt(database, row.name, row.followed)).map(({ key }) => key)
  const prune = planPrune(live, directories, policyFor(row, revision).prune_max_percent)
  if (prune === null || hasTrailer(message, ALLOW_PRUNE, 'true')) return null
  const confirmation = { kind: 'allow_prune', revision } as const
  return (await isConfirmed(database, row.name, confirmation)) ? null : prune
}
