import type { Transaction } from '../db/database.ts'
import { RequestError } from '../errors.ts'
import type { EnvironmentName, WorkflowKey } from '../ids.ts'
import { loadEnvironment } from '../messages/environments.ts'
import { findWorkflow } from '../reconcile/read.ts'
import { recipientKey } from '../recipients/recipient.ts'
import { firstOccurrence, zoneOf, type Planned, type Schedule } from '../recipients/schedule.ts'
import { insertSchedules } from '../recipients/schedule-store.ts'
import { loadRecipients } from '../recipients/store.ts'
import { storeInline } from '../runs/channel-data.ts'
import { requireActor } from '../runs/trigger.ts'
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
  for (const workflow of new Set(asked.map((one) => one.workflow)))
    await requireWorkflow(tx, environment, workflow)
  const reader = new BodyReader()
  const planned = asked.flatMap((one) => readSchedules(reader, one, now))
  reader.requireValid()
  checkSize(planned)
  await requireFitting(tx, environment, planned)
  await storeInline(tx, environment, reader.entities(), now)
  const actors = new Map(planned.map(({ actor }) => [actor && recipientKey(actor), actor]))
  for (const actor of actors.values()) if (actor) await requireActor(tx, environment, actor)
  const zones = await loadZones(tx, environment, planned)
  const schedules = planned.map((one) => {
    const timezone = zones(one)
    const next = firstOccurrence(one, now, timezone)
    return { ...one, declaredKey: null, timezone, nextOccurrenceAt: one.paused ? null : next }
  })
  checkTiming(schedules)
  return await insertSchedules(tx, environment, schedules, now)
}

async function requireWorkflow(
  tx: Transaction,
  environment: EnvironmentName,
  key: string,
): Promise<void> {
  const view = await findWorkflow(tx, environment, key)
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
  for (const workflow of new Set(planned.map((one) => one.workflow))) {
    const view = await findWorkflow(tx, environment, workflow)
    // What is gone is told when its time has come.
    if (!view || view.archivedAt !== null) continue
    const version = (await loadVersions(tx, [view.versionId])).get(view.versionId)!
    for (const one of planned) if (one.workflow === workflow) checkData(version, one.data)
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
