import type { Queryable } from '../db/database.ts'
import { RequestError } from '../errors.ts'
import type { EnvironmentName } from '../ids.ts'
import { listSwitches, listSwitchEvents, setSwitch } from '../messages/switches.ts'
import { listRefusals } from '../messages/pace-store.ts'
import { invalid } from '../recipients/recipient.ts'
import { confirm } from '../reconcile/brakes.ts'
import { isShown, type Drift as StoredDrift } from '../reconcile/drift-fight.ts'
import {
  findEnvironment,
  listEnvironments,
  requestReconcile,
  type EnvironmentView,
} from '../reconcile/read.ts'
import type { Pin } from '../reconcile/status.ts'
import { wholePage } from './page.ts'
import { ok, type MutationRoute, type ReadRoute } from './route.ts'
import {
  Activation,
  readSwitch,
  type SwitchBody,
  switchSchema,
  toActivation,
} from './switch-body.ts'
import {
  component,
  count,
  entity,
  flag,
  listOf,
  nullableText,
  nullableTime,
  oneOf,
  orNull,
  PageInfo,
  pageShape,
  shape,
  text,
  time,
} from './shapes/shape.ts'

export const Diagnostic = component(
  'Diagnostic',
  {
    path: text,
    line: count,
    column: count,
    code: text,
    message: text,
    hint: text,
    severity: oneOf(['error', 'warning']),
  },
  { optional: ['hint'] },
)

const sendingShape = shape({
  active: flag,
  reason: nullableText,
  actor: nullableText,
  expires_at: nullableTime,
  updated_at: nullableTime,
})

export const driftFields = {
  outcome: text,
  count,
  found: listOf({ description: 'What differs, and how.', type: 'object' }),
}

export const Drift = component('Drift', {
  found_at: time,
  ...driftFields,
  paused_until: nullableTime,
})

const held = { reason: text, actor: text, since: time }

export const Environment = entity('Environment', {
  name: text,
  ref: text,
  state: oneOf(['ready', 'reconciling', 'stalled', 'suspended', 'waiting']),
  reason: { ...text, description: 'A stable word.' },
  message: text,
  observed_revision: nullableText,
  attempted_revision: nullableText,
  applied_at: nullableTime,
  last_handled_request: nullableText,
  suspended: orNull(shape(held)),
  retired: orNull(shape(held)),
  pinned: orNull(shape({ revision: text, ...held, expires_at: nullableTime })),
  workflows: count,
  sending: sendingShape,
  refused_channels: listOf(shape({ channel: text, details: text, since: time, next_try_at: time })),
  drift: orNull(Drift),
  diagnostics: listOf(Diagnostic),
})

const EnvironmentSending = entity('EnvironmentSending', {
  environment: text,
  sending: sendingShape,
  items: listOf(Activation),
  page_info: PageInfo,
})

const ReconcileRequest = entity('ReconcileRequest', {
  id: text,
  environment: text,
  requested_at: time,
})

const list: ReadRoute = {
  id: 'environments.list',
  summary: 'Lists environments',
  replies: { 200: pageShape('entries', Environment) },
  kind: 'read',
  method: 'GET',
  path: '/v1/environments',
  scope: 'read',
  environment: 'none',
  query: { type: 'object', properties: { retired: { type: 'boolean' } } },
  async handle({ database, caller, query, now }) {
    const views =
      caller.environment === null
        ? await listEnvironments(database, query.retired === true)
        : [await loadEnvironment(database, caller.environment)]
    const entries = await Promise.all(views.map((view) => toEnvironment(database, view, now)))
    return ok({ entries, page_info: wholePage(entries.length) })
  },
}

const find: ReadRoute = {
  id: 'environments.get',
  summary: 'Shows where an environment stands',
  replies: { 200: Environment },
  kind: 'read',
  method: 'GET',
  path: '/v1/environments/:environment',
  scope: 'read',
  environment: 'path',
  async handle({ database, environment, now }) {
    return ok(await toEnvironment(database, await loadEnvironment(database, environment), now))
  },
}

interface ReconcileBody {
  readonly allow_prune?: string
  readonly allow_rewrite?: string
}

const revisionSchema = { type: 'string', minLength: 1, maxLength: 100 }

const reconcileSchema = {
  type: 'object',
  properties: {
    allow_prune: { ...revisionSchema, description: 'The revision whose archiving is meant.' },
    allow_rewrite: { ...revisionSchema, description: 'The revision that rewrites the branch.' },
  },
  additionalProperties: false,
}

const reconcile: MutationRoute = {
  id: 'environments.reconcile',
  summary: 'Asks for a look at Git',
  replies: { 202: ReconcileRequest },
  kind: 'mutation',
  method: 'POST',
  path: '/v1/environments/:environment/reconcile',
  scope: 'operate',
  environment: 'path',
  body: reconcileSchema,
  isBodyOptional: true,
  async handle({ tx, environment, body, caller, now }) {
    const view = await loadEnvironment(tx, environment)
    const confirmed = (body ?? {}) as ReconcileBody
    for (const kind of ['allow_prune', 'allow_rewrite'] as const) {
      const named = confirmed[kind]
      if (named === undefined) continue
      await confirm(tx, view, { kind, environment, named, actor: caller.name, now })
    }
    const id = await requestReconcile(tx, environment, now)
    const request = { __typename: 'ReconcileRequest', id, environment, requested_at: now }
    return { status: 202, body: request }
  },
}

const turnSending: MutationRoute = {
  id: 'environments.turnSending',
  summary: 'Switches all sending of an environment off or on',
  replies: { 200: Environment },
  kind: 'mutation',
  method: 'PUT',
  path: '/v1/environments/:environment/sending',
  scope: 'operate',
  environment: 'path',
  body: switchSchema({}),
  async handle({ tx, environment, body, caller, now }) {
    const view = await loadEnvironment(tx, environment)
    const change = readSwitch(body as SwitchBody, now)
    if (!change.active && !change.reason?.trim())
      throw invalid('/reason', 'is missing: say why nothing is to be sent')
    const place = { environment, workflow: '', channel: '' }
    await setSwitch(tx, { ...place, ...change, actor: caller.name, now })
    return ok(await toEnvironment(tx, view, now))
  },
}

const sending: ReadRoute = {
  id: 'environments.getSending',
  summary: 'Tells whether anything is sent, and who switched it',
  replies: { 200: EnvironmentSending },
  kind: 'read',
  method: 'GET',
  path: '/v1/environments/:environment/sending',
  scope: 'read',
  environment: 'path',
  async handle({ database, environment, now }) {
    await loadEnvironment(database, environment)
    const events = await listSwitchEvents(database, environment, '')
    return ok({
      __typename: 'EnvironmentSending',
      environment,
      sending: await loadSending(database, environment, now),
      items: events.map(toActivation),
      page_info: wholePage(events.length),
    })
  },
}

/** Whether anything is sent at all; who turned that off, why, since when and until when. */
async function loadSending(db: Queryable, environment: EnvironmentName, now: Date) {
  const switches = await listSwitches(db, environment, now)
  const off = switches.find(({ workflow, channel }) => workflow === '' && channel === '')
  return {
    active: off === undefined,
    reason: off?.reason ?? null,
    actor: off?.actor ?? null,
    expires_at: off?.expiresAt ?? null,
    updated_at: off?.updatedAt ?? null,
  }
}

/** The channels whose service refuses them as a whole, until it takes a message again. */
async function loadRefused(db: Queryable, environment: EnvironmentName) {
  const refused = await listRefusals(db, environment)
  return refused.map(({ channel, details, openedAt, probeAt }) => ({
    channel,
    details,
    since: openedAt,
    next_try_at: probeAt,
  }))
}

/** The environment as the API shows it. Throws a 404 where there is none. */
export async function loadEnvironment(
  db: Queryable,
  name: EnvironmentName,
): Promise<EnvironmentView> {
  const view = await findEnvironment(db, name)
  if (view) return view
  throw new RequestError(404, 'environment_missing', `there is no environment "${name}"`)
}

/** As the API writes it. */
export async function toEnvironment(db: Queryable, view: EnvironmentView, now: Date) {
  return {
    __typename: 'Environment',
    name: view.name,
    ref: view.ref,
    state: view.state,
    reason: view.reason,
    message: view.message,
    observed_revision: view.observedRevision,
    attempted_revision: view.attemptedRevision,
    applied_at: view.appliedAt,
    last_handled_request: view.lastHandledRequest,
    suspended: view.suspension,
    retired: view.retirement,
    pinned: view.pin && toPin(view.pin),
    workflows: view.workflows,
    sending: await loadSending(db, view.name, now),
    refused_channels: await loadRefused(db, view.name),
    drift: toDrift(view.drift, now),
    diagnostics: view.diagnostics,
  }
}

/** The newest drift of an environment while it is worth a warning, as the API writes it. */
export function toDrift(newest: StoredDrift | null, now: Date) {
  if (newest === null || !isShown(newest, now)) return null
  const { foundAt, pausedUntil, outcome, found } = newest
  return { found_at: foundAt, outcome, count: newest.count, found, paused_until: pausedUntil }
}

function toPin({ revision, reason, actor, since, expiresAt }: Pin) {
  return { revision, reason, actor, since, expires_at: expiresAt }
}

export const environments = [list, find, reconcile, sending, turnSending] as const
