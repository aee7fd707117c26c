import { providerList } from '../channels/index.ts'
import { ConfigError } from '../errors.ts'
import { placeOf } from '../git/location.ts'
import { openRepository } from '../git/repository.ts'
import type { Repository } from '../git/repository.ts'
import { findDefaultBranch, readDeclarations } from '../reconcile/declarations.ts'
import type { PromotionPlan } from '../reconcile/promotion.ts'
import { planPromotion } from '../reconcile/promotion-plan.ts'
import { resolvePromotion } from '../reconcile/promotion-source.ts'
import type { Followed } from '../reconcile/promotion-source.ts'
import type { OptionValues } from './command.ts'

export interface LocalPlan {
  readonly plan: PromotionPlan
  readonly repository: Repository
}

/**
 * Plans a promotion in a repository on this machine, without a server: what was applied is not known
 * here, and the branch of an environment stands for it. Throws a `ConfigError` where a name leads
 * nowhere, and as `Repository` does where it cannot be read.
 */
export async function planLocally(
  options: OptionValues,
  named: { readonly environment: string; readonly head: string },
): Promise<LocalPlan> {
  const repository = await openRepository(options.text('repo') ?? '.')
  return { plan: await planIn(repository, options, named), repository }
}

async function planIn(
  repository: Repository,
  options: OptionValues,
  named: { readonly environment: string; readonly head: string },
): Promise<PromotionPlan> {
  const refs = await repository.refs()
  const explicit = options.text('default-branch') ?? null
  const bare = repository.location.workTree === null
  const place = placeOf(repository.location)
  const found = await findDefaultBranch(refs, { explicit, bare, recorded: null })
  if (!found) {
    throw new ConfigError(
      `the default branch of ${place} has no commit; name it with --default-branch`,
    )
  }
  const declared = await readDeclarations(await repository.tree(found.tip), providerList)
  if (declared.kind === 'invalid') {
    const [first] = declared.diagnostics
    const where = first ? `${first.path}:${first.line} ${first.message}` : 'a problem'
    throw new ConfigError(
      `the environments on ${found.branch} of ${place} cannot be read: ${where}`,
    )
  }
  const environments: readonly Followed[] = declared.declarations
  const resolved = await resolvePromotion({ source: repository, refs, environments }, named)
  if (resolved.kind === 'refused') throw new ConfigError(resolved.refusal.message)
  const checks = { providers: providerList, hasSecret: () => true }
  const context = { source: repository, checks, findNeverApplied: null }
  return planPromotion(context, resolved.request)
}
