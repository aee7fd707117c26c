import { RequestError } from '../errors.ts'
import { checkCollection, checkRecipientId, USERS } from '../recipients/recipient.ts'
import type { Schedule } from '../recipients/schedule.ts'
import {
  deleteSchedules,
  listSchedules,
  lockSchedules,
  saveSchedules,
  type ScheduleFilter,
} from '../recipients/schedule-store.ts'
import { storeInline } from '../runs/channel-data.ts'
import { requireActors } from '../runs/trigger.ts'
import { BodyReader, readTenant } from '../runs/trigger-request.ts'
import { requireScope } from './auth.ts'
import { cutPage, pageQuery, readPage } from './page.ts'
import { readReference, referenceSchema, type WireReference } from './reference.ts'
import { ok, type MutationRoute, type ReadRequest, type ReadRoute, type Reply } from './route.ts'
import {
  applyChange,
  checkSize,
  checkTiming,
  readTiming,
  timingFields,
  type TimingBody,
} from './schedule-body.ts'
import {
  createSchedules,
  loadZones,
  readActor,
  requireFitting,
  type NewSchedules,
} from './schedule-create.ts'
import { Schedule as ScheduleShape, schedulesToWire } from './schedule-wire.ts'
import { RecipientRequest } from './shapes/recipients.ts'
import { listOf, pageShape } from './shapes/shape.ts'

/** Recipients, or schedules, of one call. */
const SCHEDULES_MAX = 100

const PATH = '/v1/schedules'

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
    const made = await createSchedules(tx, environment, [body as NewSchedules], now)
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
    reader.requireValid()
    await storeInline(tx, environment, reader.entities(), now)
    if (actor) await requireActors(tx, environment, [actor])
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
