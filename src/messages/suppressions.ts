import { asciiAddress } from '../channels/address.ts'
import { phoneNumber } from '../channels/phone.ts'
import type { Queryable, Transaction } from '../db/database.ts'
import { inOrder, lowestFirst, type Place } from '../db/pages.ts'
import { sql } from '../db/sql.ts'
import type { ChannelKey, EnvironmentName, MessageId } from '../ids.ts'
import type { MessageContent } from '../steps/step.ts'
import type { Channel, EnvironmentSettings } from '../workflow/environment.ts'

/** Why an address takes nothing more: what was sent came back for good, or its owner called it spam. */
export type SuppressionReason = 'bounced' | 'complained'

export interface NewSuppression {
  readonly environment: EnvironmentName
  readonly channel: ChannelKey
  /** As `addressOf` writes it. */
  readonly address: string
  readonly reason: SuppressionReason
  readonly details: string | null
  readonly messageId: MessageId
}

export interface Suppression {
  readonly address: string
  readonly reason: SuppressionReason
  readonly details: string | null
  readonly messageId: MessageId
  readonly insertedAt: Date
}

/** The address that a mail or a text message goes to, in the one form by which it is known; undefined for all else. */
export function addressOf(content: MessageContent): string | undefined {
  if (content.type === 'email') return mailKey(content.to)
  return content.type === 'sms' ? (phoneNumber(content.to) ?? content.to) : undefined
}

/** A mail address as `addressOf` writes it. */
export function mailKey(address: string): string {
  return asciiAddress(address).toLowerCase()
}

/** Whether addresses that are gone are written down for the channel. */
export function suppresses({ type, suppress_bounced: isOn = true }: Channel): boolean {
  return isOn && (type === 'email' || type === 'sms')
}

/** Writes down addresses; what is known of one already stays. */
export async function insertSuppressions(
  tx: Transaction,
  suppressions: readonly NewSuppression[],
  now: Date,
): Promise<void> {
  if (suppressions.length === 0) return
  const rows = suppressions.map(({ messageId, ...row }) => ({ ...row, message_id: messageId }))
  await tx.query(sql`
    insert into suppressions (environment, channel, address, reason, details, message_id, inserted_at)
    select environment, channel, address, reason, details, message_id, ${now}
    from json_to_recordset(${JSON.stringify(rows)}::json) as s (
      environment text, channel text, address text, reason text, details text, message_id uuid
    )
    order by environment, channel, address
    on conflict on constraint suppressions_pkey do nothing
  `)
}

/** A message, as far as it is asked here whether its address takes it. */
export interface Addressed {
  readonly id: MessageId
  readonly channel: ChannelKey
  readonly content: MessageContent
}

/** Those of the messages whose addresses take nothing more, with what their events say of it; one query at most. */
export async function findSuppressed(
  tx: Queryable,
  environment: EnvironmentName,
  {
    messages,
    settings,
  }: {
    readonly messages: readonly Addressed[]
    readonly settings: EnvironmentSettings | undefined
  },
): Promise<ReadonlyMap<MessageId, Readonly<Record<string, unknown>>>> {
  const asked = messages.flatMap(({ id, channel: key, content }) => {
    const channel = settings?.channels[key]
    const address = channel && suppresses(channel) ? addressOf(content) : undefined
    return address === undefined ? [] : [{ id, channel: key, address }]
  })
  if (asked.length === 0) return new Map()
  const rows = await tx.query<Suppression & { readonly channel: ChannelKey }>(sql`
    select s.channel, s.address, s.reason, s.inserted_at as "insertedAt"
    from suppressions s
    join (
      select distinct * from unnest(
        ${asked.map(({ channel }) => channel)}::text[], ${asked.map(({ address }) => address)}::text[]
      ) as a (channel, address)
    ) a on a.channel = s.channel and a.address = s.address
    where s.environment = ${environment}
  `)
  const known = new Map(rows.map((row) => [`${row.channel}/${row.address}`, row]))
  return new Map(
    asked.flatMap(({ id, channel, address }) => {
      const found = known.get(`${channel}/${address}`)
      return found ? [[id, { cause: found.reason, since: found.insertedAt }] as const] : []
    }),
  )
}

/** One page of a channel's addresses, in their order; a page before an address ends right before it. */
export async function listSuppressions(
  db: Queryable,
  { environment, channel }: { readonly environment: EnvironmentName; readonly channel: ChannelKey },
  place: Place,
): Promise<readonly Suppression[]> {
  const rows = await db.query<Suppression>(sql`
    select address, reason, details, message_id as "messageId", inserted_at as "insertedAt"
    from suppressions
    where environment = ${environment} and channel = ${channel}
      ${lowestFirst(sql`address`, place)}
  `)
  return inOrder(rows, place)
}

/** Takes an address off the list; its messages go out again. Answers whether it was there. */
export async function deleteSuppression(
  tx: Transaction,
  environment: EnvironmentName,
  channel: ChannelKey,
  address: string,
): Promise<boolean> {
  const rows = await tx.query(sql`
    delete from suppressions
    where environment = ${environment} and channel = ${channel} and address = ${address}
    returning address
  `)
  return rows.length > 0
}
