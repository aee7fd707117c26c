import type { Transaction } from '../db/database.ts'
import { RequestError } from '../errors.ts'
import type { EnvironmentName, WorkflowKey } from '../ids.ts'
import { repeatRuleSchema } from '../language/recurrence.ts'
import { loadEnvironment } from '../messages/environments.ts'
import { checkCollection, checkRecipientId, recipientKey, USERS } from '../recipients/recipient.ts'
import { firstOccurrence, zoneOf, type Planned, type Schedule } from '../recipients/schedule.ts'
import {
  deleteSchedules,
  insertSchedules,
  listSchedules,
  lockSchedules,
  saveSchedules,
  type ScheduleFilter,
} from '../recipients/schedule-store.ts'
import { loadRecipients, upsertRecipients } from '../recipients/store.ts'
import { findWorkflow } from '../reconcile/read.ts'
import { requireActor } from '../runs/trigger.ts'
import { BodyReader, readTenant } from '../runs/trigger-request.ts'
import { checkData, loadVersions } from '../runs/versions.ts'
import { requireScope } from './auth.ts'
import { cutPage, pageQuery, readPage } from './page.ts'
import { readReference, referenceSchema, type WireReference } from './reference.ts'
import { ok, type MutationRoute, type ReadRequest, type ReadRoute, type Reply } from './route.ts'
import {
  applyChange,
  checkSize,
  checkTiming,
  readTiming,
  type TimingBody,
} from './schedule-body.ts'
import { Schedule as ScheduleShape, schedulesToWire } from './schedule-wire.ts'
import { ActorRequest, RecipientRequest, TenantRequest } from './shapes/recipients.ts'
import { listOf, pageShape } from './shapes/shape.ts'

/** Recipients, or schedules, of one call. */
const SCHEDULES_MAX = 100
/** Rules of one schedule. */
const REPEATS_MAX = 20

const PATH = '/v1/schedules'

/** What replies call a rule may come back with it. */
const ruleSchema = {
  ...repeatRuleSchema,
  properties: { ...repeatRuleSchema.properties, __typename: { type: ['string', 'null'] } },
}

const timingFields = {
  repeats: { type: ['array', 'null'], maxItems: REPEATS_MAX, items: ruleSchema },
  scheduled_at: { type: ['string', 'null'] },
  ending_at: { type: ['string', 'null'] },
  data: { type: ['object', 'null'] },
  paused: { type: ['boolean', 'null'] },
  actor: ActorRequest,
  tenant: TenantRequest,
} as const

interface CreateBody extends TimingBody {
  readonly workflow: string
  readonly recipients: readonly unknown[]
  readonly actor?: unknown
  readonly tenant?: unknown
}

const create: MutationRoute = {
  id: 'schedules.create',
  summary: 'Makes a schedule for each recipient',
  replies: { 200: listOf(ScheduleShape) },
  kind: 'mutation',
  method: 'POST',
  path: PATH,
  scope: 'write',
  environment: 'key',
  body: {
    type: 'object',
    required: ['workflow', 'recipients'],
    properties: {
      workflow: { type: 'string', minLength: 1 },
      recipients: { type: 'array', minItems: 1, maxItems: SCHEDULES_MAX, items: RecipientRequest },
      ...timingFields,
    },
  },
  async handle({ tx, environment, body, caller, now }) {
    // It is a trigger, though a later one.
    requireScope(caller, 'trigger')
    const asked = body as CreateBody
    const workflow = await requireWorkflow(tx, environment, asked.workflow)
    const reader = new BodyReader()
    const recipients = asked.recipients.flatMap((value, index) => {
      const found = reader.entity(`/recipients/${index}`, value)
      return found ? [found] : []
    })
    const actor = readActor(reader, asked.actor)
    const tenant = readTenant(reader, asked.tenant)
    const timing = readTiming(reader, asked, now)
    requireValid(reader)
    const own = new Map(recipients.map((one) => [recipientKey(one), one]))
    const planned = [...own.values()].map(({ data, ...recipient }): Planned => {
      const all = { ...asked.data, ...data }
      return {
        workflow,
        recipient,
        actor,
        tenant,
        ...timing,
        data: all,
        paused: asked.paused ?? false,
      }
    })
    checkSize(planned)
    await requireFitting(tx, environment, planned)
    for (const { recipient } of planned) reader.keep({ ...recipient, properties: {} })
    await upsertRecipients(tx, environment, reader.entities(), now)
    if (actor) await requireActor(tx, environment, actor)
    const zones = await loadZones(tx, environment, planned)
    const schedules = planned.map((one) => {
      const timezone = zones(one)
      const next = firstOccurrence(one, now, timezone)
      return { ...one, declaredKey: null, timezone, nextOccurrenceAt: one.paused ? null : next }
    })
    checkTiming(schedules)
    const made = await insertSchedules(tx, environment, schedules, now)
    return ok(await schedulesToWire(tx, environment, made))
  },
}

interface UpdateBody extends TimingBody {
  readonly schedule_ids: readonly string[]
  readonly actor?: unknown
  readonly tenant?: unknown
}

const scheduleIds = {
  type: 'array',
  minItems: 1,
  maxItems: SCHEDULES_MAX,
  items: { type: 'string', format: 'uuid' },
} as const

const update: MutationRoute = {
  id: 'schedules.update',
  summary: 'Changes schedules',
  replies: { 200: listOf(ScheduleShape) },
  kind: 'mutation',
  method: 'PUT',
  path: PATH,
  scope: 'write',
  environment: 'key',
  body: {
    type: 'object',
    required: ['schedule_ids'],
    properties: { schedule_ids: scheduleIds, ...timingFields },
  },
  async handle({ tx, environment, body, caller, now }) {
    requireScope(caller, 'trigger')
    const asked = body as UpdateBody
    const reader = new BodyReader()
    const actor = asked.actor === undefined ? undefined : readActor(reader, asked.actor)
    const tenant = asked.tenant === undefined ? undefined : readTenant(reader, asked.tenant)
    // Read once for what is wrong with it; what it means depends on each schedule.
    readTiming(reader, { scheduled_at: now.toISOString(), ...asked }, now)
    requireValid(reader)
    await upsertRecipients(tx, environment, reader.entities(), now)
    if (actor) await requireActor(tx, environment, actor)
    const known = await lockSchedules(tx, environment, asked.schedule_ids)
    refuseDeclared(known)
    const zones = await loadZones(tx, environment, known)
    const change = { ...asked, actor, tenant }
    const changed = known.map((one) => applyChange(one, change, { now, timezone: zones(one) }))
    checkSize(changed)
    if (asked.data !== undefined) await requireFitting(tx, environment, changed)
    checkTiming(changed)
    await saveSchedules(tx, environment, changed)
    return ok(await schedulesToWire(tx, environment, inOrder(changed, asked.schedule_ids)))
  },
}

const remove: MutationRoute = {
  id: 'schedules.delete',
  summary: 'Deletes schedules',
  replies: { 200: listOf(ScheduleShape) },
  kind: 'mutation',
  method: 'DELETE',
  path: PATH,
  scope: 'write',
  environment: 'key',
  body: {
    type: 'object',
    required: ['schedule_ids'],
    properties: { schedule_ids: scheduleIds },
  },
  async handle({ tx, environment, body }) {
    const { schedule_ids: ids } = body as { readonly schedule_ids: readonly string[] }
    const known = await lockSchedules(tx, environment, ids)
    refuseDeclared(known)
    const reply = await schedulesToWire(tx, environment, inOrder(known, ids))
    await deleteSchedules(
      tx,
      environment,
      known.map(({ id }) => id),
    )
    return ok(reply)
  },
}

async function requireWorkflow(
  tx: Transaction,
  environment: EnvironmentName,
  key: string,
): Promise<WorkflowKey> {
  const view = await findWorkflow(tx, environment, key)
  if (view && view.archivedAt === null) return view.key
  const why = view ? 'was archived' : 'does not exist'
  const message = `workflow "${key}" ${why} in ${environment}`
  throw new RequestError(404, 'workflow_missing', message)
}

/** Holds what they bring to the data schemas of the workflows as they are now; each run is held to its own. */
async function requireFitting(
  tx: Transaction,
  environment: EnvironmentName,
  planned: readonly Planned[],
): Promise<void> {
  for (const workflow of new Set(planned.map((one) => one.workflow))) {
    const view = await findWorkflow(tx, environment, workflow)
    // What is gone is told when its time has come.
    if (!view || view.archivedAt !== null) continue
    const version = (await loadVersions(tx, [view.versionId])).get(view.versionId)!
    for (const one of planned) if (one.workflow === workflow) checkData(version, one.data)
  }
}

function readActor(reader: BodyReader, value: unknown): Planned['actor'] {
  const found = value == null ? undefined : reader.entity('/actor', value)
  return found ? { collection: found.collection, id: found.id } : null
}

function requireValid({ violations }: BodyReader): void {
  const [first] = violations
  if (!first) return
  const message = `${first.field} ${first.message}`
  throw new RequestError(422, 'invalid_params', message, violations)
}

function refuseDeclared(schedules: readonly Schedule[]): void {
  const declared = schedules.find(({ declaredKey }) => declaredKey !== null)
  if (!declared) return
  const message = `schedule ${declared.id} is "${declared.declaredKey}" of the environment's file: change it there`
  throw new RequestError(422, 'schedule_declared', message)
}

function inOrder(schedules: readonly Schedule[], ids: readonly string[]): readonly Schedule[] {
  const byId = new Map(schedules.map((one) => [one.id, one]))
  return [...new Set(ids.map((id) => id.toLowerCase()))].flatMap((id) => byId.get(id) ?? [])
}

/** Tells the zone that counts for the recipient of each. */
async function loadZones(
  tx: Transaction,
  environment: EnvironmentName,
  planned: readonly Planned[],
): Promise<(one: Planned) => string> {
  const live = await loadEnvironment(tx, environment)
  const refs = planned.map(({ recipient }) => recipient)
  const known = await loadRecipients(tx, environment, refs)
  const properties = new Map(known.map((one) => [recipientKey(one), one.properties]))
  const fallback = live?.settings.timezone ?? 'UTC'
  return ({ recipient }) => zoneOf(properties.get(recipientKey(recipient)), fallback)
}

const filters = {
  ...pageQuery,
  workflow: { type: 'string', minLength: 1 },
  tenant: { type: 'string', minLength: 1 },
} as const

const references = { type: 'array', items: referenceSchema, maxItems: SCHEDULES_MAX } as const

interface Filters {
  readonly workflow?: string
  readonly tenant?: string
  readonly recipients?: readonly WireReference[]
}

const list: ReadRoute = {
  id: 'schedules.list',
  summary: 'Lists schedules',
  replies: { 200: pageShape('entries', ScheduleShape) },
  kind: 'read',
  method: 'GET',
  path: PATH,
  scope: 'read',
  environment: 'key',
  query: { type: 'object', properties: { ...filters, recipients: references } },
  handle(request) {
    const { recipients, workflow, tenant } = request.query as Filters
    return pageOf(request, { workflow, tenant, recipients: recipients?.map(readReference) })
  },
}

const ofUser: ReadRoute = {
  id: 'users.listSchedules',
  summary: 'Lists the schedules of a user',
  replies: { 200: pageShape('entries', ScheduleShape) },
  kind: 'read',
  method: 'GET',
  path: '/v1/users/:id/schedules',
  scope: 'read',
  environment: 'key',
  query: { type: 'object', properties: filters },
  handle(request) {
    const { workflow, tenant } = request.query as Filters
    const ref = { collection: USERS, id: checkRecipientId(request.params['id'], 'path') }
    return pageOf(request, { workflow, tenant, recipients: [ref] })
  },
}

const ofObject: ReadRoute = {
  id: 'objects.listSchedules',
  summary: 'Lists the schedules of an object',
  replies: { 200: pageShape('entries', ScheduleShape) },
  kind: 'read',
  method: 'GET',
  path: '/v1/objects/:collection/:id/schedules',
  scope: 'read',
  environment: 'key',
  query: { type: 'object', properties: filters },
  handle(request) {
    const { collection, id } = request.params
    const { workflow, tenant } = request.query as Filters
    const ref = {
      collection: checkCollection(collection, 'path'),
      id: checkRecipientId(id, 'path'),
    }
    return pageOf(request, { workflow, tenant, recipients: [ref] })
  },
}

async function pageOf(request: ReadRequest, filter: ScheduleFilter): Promise<Reply> {
  const { database, environment, query } = request
  const page = readPage(query)
  const limit = page.size + 1
  const found = await listSchedules(database, environment, filter, { ...page, limit })
  const { rows, info } = cutPage(found, page)
  return ok({ entries: await schedulesToWire(database, environment, rows), page_info: info })
}

export const schedules = [create, update, remove, list, ofUser, ofObject] as const
