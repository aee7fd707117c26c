import type { Refs } from '../git/refs.ts'
import type { CommitSource } from '../git/source.ts'
import type { EnvironmentName, Revision } from '../ids.ts'
import type { Policy } from '../workflow/environment.ts'
import type { PlanEnd } from './promotion.ts'
import type { PromotionRequest } from './promotion-plan.ts'

/** An environment as far as promotion is concerned. */
export interface Followed {
  readonly name: EnvironmentName
  /** The branch it follows. */
  readonly ref: string
  readonly policy: Policy
}

export type Resolved =
  | { readonly kind: 'request'; readonly request: PromotionRequest }
  | { readonly kind: 'refused'; readonly refusal: PlanRefusal }

/** Why there is no plan. */
export interface PlanRefusal {
  readonly code: 'environment_missing' | 'ref_missing' | 'head_missing'
  readonly message: string
}

const COMMIT_ID = /^[0-9a-f]{40}$/

/**
 * Finds the tips that a plan is about. The head is an environment, else a branch, else the full id
 * of a commit.
 */
export async function resolvePromotion(
  {
    source,
    refs,
    environments,
  }: {
    readonly source: CommitSource
    readonly refs: Refs
    readonly environments: readonly Followed[]
  },
  { environment, head }: { readonly environment: string; readonly head: string },
): Promise<Resolved> {
  const target = environments.find(({ name }) => name === environment)
  if (!target) {
    const known = environments.map(({ name }) => name).join(', ') || 'none'
    return refuse(
      'environment_missing',
      `no environment "${environment}" is declared; there are: ${known}`,
    )
  }
  const tip = await refs.tip(target.ref)
  if (tip === null) {
    return refuse(
      'ref_missing',
      `${environment} follows the branch ${target.ref}, which is not there`,
    )
  }
  const base: PlanEnd = { name: target.name, kind: 'environment', ref: target.ref, revision: tip }
  const found = await findHead({ source, refs, environments }, head)
  if (!found) {
    return refuse(
      'head_missing',
      `"${head}" is no environment, no branch and no full id of a commit here`,
    )
  }
  const { policy } = target
  const before = environments.find(({ name }) => name === policy.promotes_from)
  const from = before ? await refs.tip(before.ref) : null
  return { kind: 'request', request: { environment: target.name, policy, base, head: found, from } }
}

function refuse(code: PlanRefusal['code'], message: string): Resolved {
  return { kind: 'refused', refusal: { code, message } }
}

async function findHead(
  {
    source,
    refs,
    environments,
  }: {
    readonly source: CommitSource
    readonly refs: Refs
    readonly environments: readonly Followed[]
  },
  name: string,
): Promise<PlanEnd | undefined> {
  const environment = environments.find((one) => one.name === name)
  if (name === 'HEAD' && !environment) return findCheckedOut(refs)
  const ref = environment?.ref ?? name
  const tip = await refs.tip(ref)
  if (tip !== null) {
    return { name, kind: environment ? 'environment' : 'branch', ref, revision: tip }
  }
  if (!COMMIT_ID.test(name)) return undefined
  // What cannot be read here is not here: a name that somebody typed is not a ref that has to be.
  const commit = await source.commit(name as Revision).catch(() => undefined)
  return commit && { name, kind: 'commit', ref: null, revision: commit.id }
}

/** What is checked out, where the repository has a work tree. */
function findCheckedOut({ head, headRevision }: Refs): PlanEnd | undefined {
  if (headRevision === null) return undefined
  if (head === null)
    return { name: headRevision, kind: 'commit', ref: null, revision: headRevision }
  return { name: head, kind: 'branch', ref: head, revision: headRevision }
}
