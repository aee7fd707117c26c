import type { Transaction } from '../db/database.ts'
import { RequestError } from '../errors.ts'
import type { EnvironmentName, WorkflowKey } from '../ids.ts'
import { loadEnvironment } from '../messages/environments.ts'
import { findWorkflows, type WorkflowView } from '../reconcile/read.ts'
import { recipientKey } from '../recipients/recipient.ts'
import { firstOccurrence, zoneOf, type Planned, type Schedule } from '../recipients/schedule.ts'
import { insertSchedules } from '../recipients/schedule-store.ts'
import { loadRecipients } from '../recipients/store.ts'
import { storeInline } from '../runs/channel-data.ts'
import { requireActors } from '../runs/trigger.ts'
import { BodyReader, readTenant } from '../runs/trigger-request.ts'
import { checkData, loadVersions } from '../runs/versions.ts'
import { checkSize, checkTiming, readTiming, type TimingBody } from './schedule-body.ts'

/** Schedules to be, one for each recipient, as a body says it. */
export interface NewSchedules extends TimingBody {
  readonly workflow: string
  readonly recipients: readonly unknown[]
  readonly actor?: unknown
  readonly tenant?: unknown
}

/** What one of these comes to, each recipient once; what is wrong is told to the reader, and who is named is kept by it. */
export function readSchedules(
  reader: BodyReader,
  asked: NewSchedules,
  now: Date,
): readonly Planned[] {
  const recipients = asked.recipients.flatMap((value, index) => {
    const found = reader.entity(`/recipients/${index}`, value)
    return found ? [found] : []
  })
  const actor = readActor(reader, asked.actor)
  const tenant = readTenant(reader, asked.tenant)
  const timing = readTiming(reader, asked, now)
  const own = new Map(recipients.map((one) => [recipientKey(one), one]))
  return [...own.values()].map(({ data, ...recipient }) => {
    reader.keep({ ...recipient, properties: {} })
    return {
      workflow: asked.workflow as WorkflowKey,
      recipient,
      actor,
      tenant,
      ...timing,
      data: { ...asked.data, ...data },
      paused: asked.paused ?? false,
    }
  })
}

/**
 * Makes all that is asked for, and keeps whoever is named for the first time. Throws a `RequestError`: 404
 * `workflow_missing`, 422 for what is wrong with one of them.
 */
export async function createSchedules(
  tx: Transaction,
  environment: EnvironmentName,
  asked: readonly NewSchedules[],
  now: Date,
): Promise<readonly Schedule[]> {
  const views = await findWorkflows(tx, environment, keysOf(asked))
  for (const key of keysOf(asked)) requireLive(environment, key, views.get(key))
  const reader = new BodyReader()
  const planned = asked.flatMap((one) => readSchedules(reader, one, now))
  reader.requireValid()
  checkSize(planned)
  await checkFitting(tx, views, planned)
  await storeInline(tx, environment, reader.entities(), now)
  const actors = planned.flatMap(({ actor }) => actor ?? [])
  await requireActors(tx, environment, actors)
  const zones = await loadZones(tx, environment, planned)
  const schedules = planned.map((one) => {
    const timezone = zones(one)
    const next = firstOccurrence(one, now, timezone)
    return { ...one, declaredKey: null, timezone, nextOccurrenceAt: one.paused ? null : next }
  })
  checkTiming(schedules)
  return await insertSchedules(tx, environment, schedules, now)
}

function keysOf(all: readonly { readonly workflow: string }[]): readonly string[] {
  return [...new Set(all.map(({ workflow }) => workflow))]
}

function requireLive(
  environment: EnvironmentName,
  key: string,
  view: WorkflowView | undefined,
): void {
  if (view && view.archivedAt === null) return
  const why = view ? 'was archived' : 'does not exist'
  const message = `workflow "${key}" ${why} in ${environment}`
  throw new RequestError(404, 'workflow_missing', message)
}

/** Holds what they bring to the data schemas of the workflows as they are now; each run is held to its own. */
export async function requireFitting(
  tx: Transaction,
  environment: EnvironmentName,
  planned: readonly Planned[],
): Promise<void> {
  await checkFitting(tx, await findWorkflows(tx, environment, keysOf(planned)), planned)
}

async function checkFitting(
  tx: Transaction,
  views: ReadonlyMap<string, WorkflowView>,
  planned: readonly Planned[],
): Promise<void> {
  // What is gone is told when its time has come.
  const live = [...views.values()].filter(({ archivedAt }) => archivedAt === null)
  const ids = new Map(live.map(({ key, versionId }) => [key, versionId]))
  const versions = await loadVersions(tx, [...new Set(ids.values())])
  for (const { workflow, data } of planned) {
    const id = ids.get(workflow)
    if (id !== undefined) checkData(versions.get(id)!, data)
  }
}

export function readActor(reader: BodyReader, value: unknown): Planned['actor'] {
  const found = value == null ? undefined : reader.entity('/actor', value)
  return found ? { collection: found.collection, id: found.id } : null
}

/** Tells the zone that counts for the recipient of each. */
export async function loadZones(
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
