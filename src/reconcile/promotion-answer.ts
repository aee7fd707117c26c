import { createHash } from 'node:crypto'
import { messageOf, RetryableFailure } from '../errors.ts'
import type { Refs } from '../git/refs.ts'
import type { EnvironmentName } from '../ids.ts'
import { DEFAULT_POLICY } from '../workflow/environment.ts'
import { policyFor } from './guard.ts'
import { assertLead, LeadershipLost } from './leader-store.ts'
import { listGuarded } from './policy-file.ts'
import type { PromotionPlan } from './promotion.ts'
import { findEffects } from './promotion-effects.ts'
import { planPromotion } from './promotion-plan.ts'
import type { PromotionRequest } from './promotion-plan.ts'
import { resolvePromotion } from './promotion-source.ts'
import type { Followed } from './promotion-source.ts'
import {
  findSamePlan,
  listNeverApplied,
  listOpenPlanRequests,
  loadAppliedMark,
  savePlanAnswer,
} from './promotion-store.ts'
import type { OpenPlanRequest, PlanRefused } from './promotion-store.ts'
import type { Looking } from './settle.ts'
import { listUnsoaked } from './soak.ts'

/** Answers those who have asked for a plan; each question once, however many have asked it. */
export async function answerPlans(looking: Looking, refs: Refs): Promise<void> {
  const { database, clock } = looking
  const open = await listOpenPlanRequests(database, clock.now())
  if (open.length === 0) return
  const rows = await listGuarded(looking)
  const environments: readonly Followed[] = rows
    .filter(({ declared }) => declared)
    .map((row) => ({
      name: row.name,
      ref: row.gitRef,
      policy: { ...DEFAULT_POLICY, ...policyFor(row, null) },
    }))
  const questions = Map.groupBy(open, ({ environment, head }) => `${environment} ${head}`)
  for (const asked of questions.values()) {
    const [question] = asked
    if (!question) continue
    const answer = await answerQuestion(looking, question, { refs, environments })
    const ids = asked.map(({ id }) => id)
    await database.transaction(async (tx) => {
      await assertLead(tx, looking.leadership)
      await savePlanAnswer(tx, question.environment, { ids, ...answer, now: clock.now() })
    })
  }
}

/** Another one with each change of what a plan holds, so that one of an earlier release is not taken again. */
const PLAN_SHAPE = 2

interface Answer {
  readonly plan?: PromotionPlan
  readonly problem?: PlanRefused
  readonly fingerprint?: string
}

async function answerQuestion(
  looking: Looking,
  { environment, head }: OpenPlanRequest,
  { refs, environments }: { readonly refs: Refs; readonly environments: readonly Followed[] },
): Promise<Answer> {
  try {
    const source = looking.repository
    const named = { environment, head }
    const resolved = await resolvePromotion({ source, refs, environments }, named)
    if (resolved.kind === 'refused') return { problem: resolved.refusal }
    return await workOut(looking, environment, resolved.request)
  } catch (error) {
    if (error instanceof LeadershipLost) throw error
    if (error instanceof RetryableFailure) {
      return { problem: { code: 'unreadable', message: messageOf(error) } }
    }
    looking.log.error('a promotion cannot be planned', { environment, head, error })
    return { problem: { code: 'plan_failed', message: 'the promotion could not be planned' } }
  }
}

/** Takes the plan that was made for the same tips, or makes one; what is under way is counted anew. */
async function workOut(
  looking: Looking,
  environment: EnvironmentName,
  request: PromotionRequest,
): Promise<Answer> {
  const { database, repository, providers, hasSecret, clock } = looking
  const { promotes_from: from } = request.policy
  const applied = await loadAppliedMark(database, environment, from)
  const fingerprint = createHash('sha256')
    .update(JSON.stringify([PLAN_SHAPE, request, applied]))
    .digest('hex')
  const now = clock.now()
  const same = await findSamePlan(database, environment, { fingerprint, now })
  // How long something has been live is another answer each time.
  const known = same?.order.verdict === 'soaking' ? undefined : same
  const plan =
    known ??
    (await planPromotion(
      {
        source: repository,
        checks: { providers, hasSecret },
        findNeverApplied: (source, coming) =>
          listNeverApplied(database, { environment, from: source }, coming),
        findUnsoaked: (source, soak, coming) =>
          listUnsoaked(database, { environment, from: source, soak, now }, coming),
      },
      request,
    ))
  return { fingerprint, plan: { ...plan, effects: await findEffects(database, environment, plan) } }
}
