import type { Clock } from '../clock.ts'
import type { Database } from '../db/database.ts'
import type { CommitSource } from '../git/source.ts'
import type { PromotionPlan } from './promotion.ts'
import { renderPlanMarkdown } from './promotion-markdown.ts'
import { findPlanAnswer, requestPlan } from './promotion-store.ts'
import type { PlanAnswer } from './promotion-store.ts'
import { countWords, verdictWords } from './promotion-words.ts'
import type { PullPlan, PullPlanRequest } from './pulls.ts'
import { short } from './status.ts'

export interface PullPlanning {
  readonly database: Database
  readonly clock: Clock
  readonly source: CommitSource
  /** Under which refs the forge keeps the heads of pull requests. */
  readonly pullRefs: string
}

/** A question that was asked for a pull request. */
interface Asked {
  readonly id: string
  readonly at: Date
}

/** Answers are kept for longer. */
const ASKED_AGAIN_MS = 60_000
/** A look under way answers of the tips that it began with, and the next one follows it. */
const MISMATCHED_MS = 2_000
/** A mirror may be behind its forge, but not for ever. */
const MISSING_MS_MAX = 10 * 60_000
/** More are forgotten, and asked anew. */
const QUESTIONS_MAX = 1_000

/** Asks for the plans of pull requests, once their heads can be read here. */
export function openPullPlanner(
  planning: PullPlanning,
): (request: PullPlanRequest) => Promise<PullPlan | undefined> {
  const asked = new Map<string, Asked>()
  const missing = new Map<string, Date>()
  return async (request) => {
    const now = planning.clock.now()
    const { head } = request
    if (!(await obtainHead(planning, request))) {
      const since = missing.get(head) ?? now
      remember(missing, head, since)
      return now.getTime() - since.getTime() < MISSING_MS_MAX ? undefined : missingPlan(request)
    }
    missing.delete(head)
    const question = JSON.stringify(request)
    const known = asked.get(question)
    const sinceMs = known ? now.getTime() - known.at.getTime() : 0
    if (!known || sinceMs >= ASKED_AGAIN_MS) {
      const id = await ask(planning, request, now)
      if (id !== undefined) remember(asked, question, { id, at: now })
      return undefined
    }
    const answer = await findPlanAnswer(planning.database, request.environment, known.id)
    const plan = planOf(answer, request)
    if (plan || (answer.kind === 'plan' && sinceMs >= MISMATCHED_MS)) asked.delete(question)
    return plan
  }
}

function ask(
  { database }: PullPlanning,
  { environment, head }: PullPlanRequest,
  now: Date,
): Promise<string | undefined> {
  return database.transaction((tx) => requestPlan(tx, environment, { head, now }))
}

function remember<Value>(all: Map<string, Value>, key: string, value: Value): void {
  if (all.size >= QUESTIONS_MAX) all.clear()
  all.set(key, value)
}

/** Undefined where there is none yet, and where it is not of these tips: then it is asked for again. */
function planOf(answer: PlanAnswer, { number, base, head }: PullPlanRequest): PullPlan | undefined {
  if (answer.kind !== 'plan') return undefined
  const { plan } = answer
  if (plan.valid_for.base !== base || plan.valid_for.head !== head) return undefined
  const named: PromotionPlan = { ...plan, head: { ...plan.head, name: `#${number}` } }
  return {
    state: plan.verdict === 'blocked' ? 'failure' : 'success',
    summary: summaryOf(named),
    markdown: renderPlanMarkdown(named),
  }
}

function summaryOf(plan: PromotionPlan): string {
  const [first] = plan.blocked_by
  return first ? `Blocked: ${first.message}.` : `${verdictWords(plan)} ${countWords(plan)}.`
}

function missingPlan({ head }: PullPlanRequest): PullPlan {
  const text = `The commit ${short(head)} cannot be read in the repository that Belfry follows.`
  return { state: 'error', summary: text, markdown: text }
}

/** Whether the head can be read here; where it is a fork's, it is got by the name that the forge gives it. */
async function obtainHead(
  { source, pullRefs }: PullPlanning,
  { number, head }: PullPlanRequest,
): Promise<boolean> {
  const isReadable = () =>
    source.commit(head).then(
      () => true,
      () => false,
    )
  if (await isReadable()) return true
  const refs = await source.list?.(`${pullRefs}${number}/`)
  if (!refs || ![...refs.values()].includes(head)) return false
  await source.obtain?.([head])
  return isReadable()
}
