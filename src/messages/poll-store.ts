import type { Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import type { ChannelKey, EnvironmentName, MessageId, ProcessId } from '../ids.ts'
import { isSilent } from './leases.ts'

/** A message whose service is to be asked what became of it. */
export interface NewPoll {
  readonly environment: EnvironmentName
  readonly messageId: MessageId
  readonly channel: ChannelKey
  /** The service's id of it. */
  readonly reference: string
  readonly dueAt: Date
}

export interface Poll extends Omit<NewPoll, 'dueAt'> {
  /** The number of this time, from 1; names the claim. */
  readonly attempt: number
}

export async function insertPolls(tx: Transaction, polls: readonly NewPoll[]): Promise<void> {
  if (polls.length === 0) return
  const rows = polls.map(({ messageId, dueAt, ...row }) => ({
    ...row,
    message_id: messageId,
    due_at: dueAt,
  }))
  await tx.query(sql`
    insert into status_polls (environment, message_id, channel, reference, due_at)
    select environment, message_id, channel, reference, due_at
    from json_to_recordset(${JSON.stringify(rows)}::json) as p (
      environment text, message_id uuid, channel text, reference text, due_at timestamptz
    )
    on conflict on constraint status_polls_pkey do update
    set reference = excluded.reference, due_at = excluded.due_at, attempt = 0, claimed_by = null
  `)
}

/**
 * Claims what is due of all environments for the process, one time more. What a process without a lease that counts
 * has is taken over, and so is what the own one has: it works on one set at a time, and has lost the one before.
 */
export async function takePolls(
  tx: Transaction,
  process: ProcessId,
  now: Date,
  count: number,
): Promise<readonly Poll[]> {
  return await tx.query<Poll>(sql`
    update status_polls p
    set attempt = attempt + 1, claimed_by = ${process}
    from (
      select environment, message_id
      from status_polls c
      where due_at <= ${now}
        and (claimed_by is null or claimed_by = ${process} or ${isSilent(sql`c.claimed_by`)})
      order by due_at
      limit ${count}
      for update skip locked
    ) d
    where p.environment = d.environment and p.message_id = d.message_id
    returning p.environment, p.message_id as "messageId", p.channel, p.reference, p.attempt
  `)
}

/** Which of these claims still hold; locked, in order of their messages. */
export async function lockPolls(
  tx: Transaction,
  polls: readonly Poll[],
): Promise<ReadonlySet<MessageId>> {
  const rows = await tx.query<{ id: MessageId }>(sql`
    select p.message_id as id
    from unnest(
      ${polls.map(({ environment }) => environment)}::text[],
      ${polls.map(({ messageId }) => messageId)}::uuid[],
      ${polls.map(({ attempt }) => attempt)}::integer[]
    ) as c (environment, id, attempt)
    join status_polls p
      on p.environment = c.environment and p.message_id = c.id and p.attempt = c.attempt
    order by p.message_id
    for update of p
  `)
  return new Set(rows.map(({ id }) => id))
}

/** Gives these up, each to be asked about again at its time. */
export async function postponePolls(
  tx: Transaction,
  polls: readonly (Poll & { readonly dueAt: Date })[],
): Promise<void> {
  if (polls.length === 0) return
  await tx.query(sql`
    update status_polls p
    set due_at = n.due_at, claimed_by = null
    from unnest(
      ${polls.map(({ environment }) => environment)}::text[],
      ${polls.map(({ messageId }) => messageId)}::uuid[],
      ${polls.map(({ dueAt }) => dueAt)}::timestamptz[]
    ) as n (environment, id, due_at)
    where p.environment = n.environment and p.message_id = n.id
  `)
}

export async function deletePolls(tx: Transaction, polls: readonly Poll[]): Promise<void> {
  if (polls.length === 0) return
  await tx.query(sql`
    delete from status_polls p
    using unnest(
      ${polls.map(({ environment }) => environment)}::text[],
      ${polls.map(({ messageId }) => messageId)}::uuid[]
    ) as n (environment, id)
    where p.environment = n.environment and p.message_id = n.id
  `)
}
