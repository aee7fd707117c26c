import { systemClock } from '../clock.ts'
import { ConfigError } from '../errors.ts'
import type { ForgeSettings } from '../forge-settings.ts'
import { ForgeFailure } from '../forges/failure.ts'
import type { OpenedPull } from '../forges/forge.ts'
import { openForge } from '../forges/index.ts'
import type { PromotionPlan } from '../reconcile/promotion.ts'
import { renderPlanMarkdown } from '../reconcile/promotion-markdown.ts'

/**
 * Opens a pull request for what a plan is about, with the plan as its text; one that is open already
 * is rewritten. Throws a `ConfigError` where the head is no branch, and where the forge does not do it.
 */
export async function openPromotionPull(
  settings: ForgeSettings,
  plan: PromotionPlan,
  title: string | undefined,
): Promise<OpenedPull> {
  const { base, head } = plan
  if (head.ref === null || base.ref === null) {
    throw new ConfigError(`${head.name} is no branch, and a pull request is of one`)
  }
  using opened = openForge(settings, { clock: systemClock })
  try {
    return await opened.forge.openPull({
      base: base.ref,
      head: head.ref,
      title: title ?? `Promote ${head.name} to ${base.name}`,
      body: renderPlanMarkdown(plan),
    })
  } catch (error) {
    if (!(error instanceof ForgeFailure)) throw error
    throw new ConfigError(`the pull request was not opened: ${error.message}`)
  }
}
