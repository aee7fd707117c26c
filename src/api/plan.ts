import { setTimeout as pause } from 'node:timers/promises'
import { RequestError } from '../errors.ts'
import type { EnvironmentName } from '../ids.ts'
import type { PromotionPlan } from '../reconcile/promotion.ts'
import { renderPlanMarkdown } from '../reconcile/promotion-markdown.ts'
import { findPlanAnswer, requestPlan } from '../reconcile/promotion-store.ts'
import type { PlanRefused } from '../reconcile/promotion-store.ts'
import { Diagnostic, loadEnvironment } from './environments.ts'
import { ok, type ReadRequest, type ReadRoute } from './route.ts'
import {
  count,
  entity,
  flag,
  json,
  listOf,
  mapOf,
  nullableText,
  oneOf,
  orNull,
  shape,
  text,
} from './shapes/shape.ts'

/** How long the process that reads Git may take, in milliseconds. */
const WAIT_MS_MAX = 10_000
const POLL_MS_MIN = 20
const POLL_MS_MAX = 200
/** Names of branches are shorter. */
const HEAD_LENGTH_MAX = 255

interface PlanQuery {
  readonly head: string
  readonly format?: 'json' | 'markdown'
}

const texts = listOf(text)
const objects = listOf({ type: 'object' })
const end = shape({
  name: text,
  kind: oneOf(['environment', 'branch', 'commit']),
  ref: nullableText,
  revision: text,
})
const problems = listOf(shape({ code: text, message: text }))

const effects = shape({
  runs: listOf(
    shape({
      workflow: text,
      paused: count,
      steps: listOf(shape({ ref: nullableText, runs: count, removed: flag })),
      ends: flag,
    }),
  ),
  batches: listOf(
    shape({
      workflow: text,
      batches: count,
      activities: count,
      steps: listOf(
        shape({
          ref: text,
          batches: count,
          activities: count,
          goes_on_with: oneOf(['newest', 'earlier', 'pinned', null]),
        }),
      ),
      ends: flag,
    }),
  ),
  unlisted: shape({ runs: count, batches: count }),
})

/** Its parts are told in docs/spec/promotion.md. */
const PromotionPlan = entity('PromotionPlan', {
  environment: text,
  base: end,
  head: end,
  valid_for: shape({ base: text, head: text, merge_base: nullableText }),
  merge_bases: texts,
  relation: oneOf(['same', 'up_to_date', 'fast_forward', 'merge', 'unrelated']),
  verdict: oneOf(['nothing_to_do', 'ready', 'blocked']),
  blocked_by: problems,
  warnings: problems,
  counts: mapOf(count),
  workflows: objects,
  shared: objects,
  environments: objects,
  batch_steps: listOf(shape({ workflow: text, refs: texts })),
  conflicts: objects,
  diagnostics: listOf(Diagnostic),
  read: shape({ workflows: count, of: count }),
  result_tree: nullableText,
  prune: shape({
    held: flag,
    allowed: flag,
    archived: texts,
    of: count,
    max_percent: { type: 'number' },
  }),
  order: json,
  back_merge: orNull(json),
  effects: orNull(effects),
})

/** The plan is made by the process that reads Git; this one asks it through Postgres, and waits. */
const find: ReadRoute = {
  id: 'environments.plan',
  summary: 'Tells what merging a head would do',
  replies: { 200: { content: { 'application/json': PromotionPlan, 'text/markdown': text } } },
  kind: 'read',
  method: 'GET',
  path: '/v1/environments/:environment/plan',
  scope: 'read',
  environment: 'path',
  query: {
    type: 'object',
    required: ['head'],
    properties: {
      head: {
        type: 'string',
        minLength: 1,
        maxLength: HEAD_LENGTH_MAX,
        description: 'An environment, a branch or a commit.',
      },
      format: { enum: ['json', 'markdown'] },
    },
  },
  async handle(request) {
    const { database, environment, query, now } = request
    const { head, format = 'json' } = query as unknown as PlanQuery
    await loadEnvironment(database, environment)
    const id = await database.transaction((tx) => requestPlan(tx, environment, { head, now }))
    if (id === undefined) throw unavailable('too many plans of this environment are waited for')
    const plan = await awaitPlan(request, environment, id)
    if (format === 'json') return ok({ __typename: 'PromotionPlan', ...plan })
    return { status: 200, type: 'text/markdown; charset=utf-8', body: renderPlanMarkdown(plan) }
  },
}

async function awaitPlan(
  { database }: ReadRequest,
  environment: EnvironmentName,
  id: string,
): Promise<PromotionPlan> {
  let delayMs = POLL_MS_MIN
  for (let waitedMs = 0; waitedMs < WAIT_MS_MAX; waitedMs += delayMs) {
    delayMs = Math.min(delayMs * 2, POLL_MS_MAX)
    await pause(delayMs)
    const answer = await findPlanAnswer(database, environment, id)
    if (answer.kind === 'plan') return answer.plan
    if (answer.kind === 'refused') throw refusalOf(answer.problem)
  }
  throw unavailable('the process that reads Git has not answered in time')
}

function refusalOf({ code, message }: PlanRefused): RequestError {
  if (code === 'unreadable') return unavailable(message)
  if (code === 'plan_failed') return new RequestError(500, code, message)
  return new RequestError(404, code, message)
}

function unavailable(message: string): RequestError {
  return new RequestError(503, 'plan_unavailable', `${message}; try again`)
}

export const plan = [find] as const
