import type { Queryable } from '../db/database.ts'
import type { EnvironmentName } from '../ids.ts'
import { findMessage, type MessageRow } from '../messages/log-store.ts'
import { activityToWire } from '../messages/wire.ts'
import { entityToWire, recipientKey, type RecipientRef } from '../recipients/recipient.ts'
import { loadRecipients } from '../recipients/store.ts'
import { loadContents } from '../runs/batch-contents.ts'
import { findBatches } from '../runs/batch-summary.ts'
import { readTriggerData } from './message-filter.ts'
import { pageQuery, slicePage } from './page.ts'
import { resourceMissing } from './reference.ts'
import { ok, type ReadRoute } from './route.ts'
import { Activity } from './shapes/messages.ts'
import { pageShape, text } from './shapes/shape.ts'

const list: ReadRoute = {
  id: 'messages.listActivities',
  summary: 'Lists what a message is about: its trigger, or those of its batch',
  replies: { 200: pageShape('items', Activity) },
  kind: 'read',
  method: 'GET',
  path: '/v1/messages/:id/activities',
  scope: 'read',
  environment: 'key',
  query: { type: 'object', properties: { ...pageQuery, trigger_data: text } },
  async handle({ database, environment, params, query }) {
    const id = params['id'] ?? ''
    const row = await findMessage(database, environment, id)
    if (!row) throw resourceMissing('message', id)
    const { trigger_data: asked } = query as { readonly trigger_data?: string }
    const wanted = asked ? Object.entries(readTriggerData(asked)) : []
    const found = (await activitiesOf(database, environment, row)).filter(({ data }) =>
      wanted.every(([key, value]) => data?.[key] === value),
    )
    return ok(slicePage(await toWire(database, environment, row, found), query))
  },
}

interface Found {
  readonly id: string
  readonly actor: RecipientRef | null
  readonly data: MessageRow['data']
  readonly at: Date
}

/** As the message has shown them: of a batch no more than its step shows. */
async function activitiesOf(
  db: Queryable,
  environment: EnvironmentName,
  row: MessageRow,
): Promise<readonly Found[]> {
  const { id, actor, data, insertedAt: at } = row
  const batch = (await findBatches(db, environment, [row])).get(id)
  if (batch === undefined) return [{ id, actor, data, at }]
  const contents = (await loadContents(db, environment, [batch])).get(batch)
  return (contents?.activities ?? []).map(({ workflowRunId, ...activity }) => ({
    id: workflowRunId,
    ...activity,
  }))
}

async function toWire(
  db: Queryable,
  environment: EnvironmentName,
  { collection, recipient: name, insertedAt }: MessageRow,
  found: readonly Found[],
) {
  const ref = { collection, id: name }
  const known = await loadRecipients(db, environment, [
    ref,
    ...found.flatMap(({ actor }) => actor ?? []),
  ])
  const entities = new Map(known.map((one) => [recipientKey(one), one]))
  // One who was deleted is still named.
  const stranger = { ...ref, properties: {}, createdAt: insertedAt, updatedAt: insertedAt }
  const recipient = entityToWire(entities.get(recipientKey(ref)) ?? stranger)
  return found.map(({ actor: by, ...activity }) => {
    const actor = by === null ? undefined : entities.get(recipientKey(by))
    return activityToWire({ ...activity, actor: actor ? entityToWire(actor) : null, recipient })
  })
}

export const activities = [list] as const
