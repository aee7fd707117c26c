import type { Queryable, Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import { newRowId, type EnvironmentName, type MessageId } from '../ids.ts'

/** Something that happened to a message. */
export interface MessageEvent {
  readonly environment: EnvironmentName
  readonly message: MessageId
  /** Such as `message.read`. */
  readonly type: string
  readonly data: Readonly<Record<string, unknown>> | null
}

/** Something that happened to a recipient. */
export interface RecipientEvent {
  readonly environment: EnvironmentName
  readonly type: string
  readonly collection: string
  readonly recipient: string
  readonly data: Readonly<Record<string, unknown>>
}

/** What some workflow of each of these environments waits for, as `environment event`. */
async function loadListeners(
  tx: Queryable,
  environments: readonly EnvironmentName[],
): Promise<ReadonlySet<string>> {
  const rows = await tx.query<{ environment: string; event: string }>(sql`
    select environment, event from event_listeners where environment = any(${environments}::text[])
  `)
  return new Set(rows.map(({ environment, event }) => `${environment} ${event}`))
}

/**
 * Keeps what happened, as far as any workflow waits for such a thing, in the transaction in which it happened:
 * one short query where none does, and at most two statements more. Messages of the sandbox are passed over.
 */
export async function noteEvents(
  tx: Transaction,
  {
    messages = [],
    recipients = [],
  }: {
    readonly messages?: readonly MessageEvent[]
    readonly recipients?: readonly RecipientEvent[]
  },
  now: Date,
): Promise<void> {
  const environments = new Set([...messages, ...recipients].map(({ environment }) => environment))
  if (environments.size === 0) return
  const listeners = await loadListeners(tx, [...environments])
  if (listeners.size === 0) return
  const isHeard = (event: { readonly environment: string; readonly type: string }) =>
    listeners.has(`${event.environment} ${event.type}`)
  await insertMessageEvents(tx, messages.filter(isHeard), now)
  await insertRecipientEvents(tx, recipients.filter(isHeard), now)
}

async function insertMessageEvents(
  tx: Transaction,
  events: readonly MessageEvent[],
  now: Date,
): Promise<void> {
  if (events.length === 0) return
  const rows = events.map((event) => ({ id: newRowId(), ...event }))
  await tx.query(sql`
    insert into recipient_events (environment, id, event, collection, recipient, data, inserted_at)
    select m.environment, i.id, i.type, m.collection, m.recipient,
      jsonb_build_object('type', i.type, 'inserted_at', ${now.toISOString()}::text,
        'message_id', m.id, 'run_id', m.run_id, 'workflow_run_id', m.workflow_run_id,
        'workflow', m.workflow, 'step_ref', m.step_ref, 'channel', m.channel,
        'channel_type', m.channel_type, 'channel_provider', m.provider, 'tenant', m.tenant,
        'recipient', m.recipient, 'collection', m.collection,
        'source', jsonb_build_object('type', 'workflow', 'key', m.workflow),
        'data', coalesce(i.data, '{}')),
      ${now}
    from json_to_recordset(${JSON.stringify(rows)}::json)
      as i (id uuid, environment text, message uuid, type text, data jsonb)
    join messages m on m.environment = i.environment and m.id = i.message
    where m.reason is distinct from 'sandbox'
  `)
}

async function insertRecipientEvents(
  tx: Transaction,
  events: readonly RecipientEvent[],
  now: Date,
): Promise<void> {
  if (events.length === 0) return
  const rows = events.map(({ data, ...event }) => ({
    id: newRowId(),
    ...event,
    data: { type: event.type, inserted_at: now, ...data },
  }))
  await tx.query(sql`
    insert into recipient_events (environment, id, event, collection, recipient, data, inserted_at)
    select environment, id, type, collection, recipient, data, ${now}
    from json_to_recordset(${JSON.stringify(rows)}::json)
      as i (id uuid, environment text, type text, collection text, recipient text, data jsonb)
  `)
}
