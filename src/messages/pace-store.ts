import type { Queryable, Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import type { ChannelKey, EnvironmentName, MessageId } from '../ids.ts'
import type { MessageHappening } from './message.ts'
import { toEvents } from './delivery-store.ts'

/** How long a refused channel rests before its first message tries again; it doubles up to the second. */
const PROBE_SECONDS_MIN = 15
const PROBE_SECONDS_MAX = 300

/** A channel that its service refuses as a whole. */
export interface Refusal {
  readonly channel: ChannelKey
  readonly details: string
  readonly openedAt: Date
  readonly probeAt: Date
}

/**
 * Notes that the service refuses the channel. Answers when one message may try again, and whether the
 * channel was fine until now: only one caller of all processes hears that.
 */
export async function noteRefusal(
  db: Queryable,
  refusal: {
    readonly environment: EnvironmentName
    readonly channel: ChannelKey
    readonly details: string
    readonly now: Date
  },
): Promise<{ readonly isNew: boolean; readonly probeAt: Date }> {
  const { environment, channel, details, now } = refusal
  const [row] = await db.query<{ isNew: boolean; probeAt: Date }>(sql`
    insert into channel_refusals (environment, channel, details, opened_at, probe_at)
    values (
      ${environment}, ${channel}, ${details}, ${now},
      ${now}::timestamptz + ${PROBE_SECONDS_MIN} * interval '1 second'
    )
    on conflict on constraint channel_refusals_pkey do update
    set details = excluded.details
    returning xmax = 0 as "isNew", probe_at as "probeAt"
  `)
  return row!
}

/**
 * Those of the refused channels that may be tried now, each for one caller: the next may try after twice
 * the time.
 */
export async function takeProbes(
  tx: Transaction,
  environment: EnvironmentName,
  channels: readonly ChannelKey[],
  now: Date,
): Promise<readonly ChannelKey[]> {
  const rows = await tx.query<{ channel: ChannelKey }>(sql`
    update channel_refusals
    set probes = least(probes + 1, 20),
        probe_at = ${now}::timestamptz + interval '1 second'
          * least(${PROBE_SECONDS_MIN} * power(2, probes + 1), ${PROBE_SECONDS_MAX})
    where environment = ${environment}
      and channel = any(${channels}::text[])
      and probe_at <= ${now}
    returning channel
  `)
  return rows.map(({ channel }) => channel)
}

/** Forgets that the channel was refused. Answers whether it was. */
export async function endRefusal(
  db: Queryable,
  environment: EnvironmentName,
  channel: ChannelKey,
): Promise<boolean> {
  const rows = await db.query(sql`
    delete from channel_refusals
    where environment = ${environment} and channel = ${channel}
    returning channel
  `)
  return rows.length > 0
}

/** The refused channels of an environment that it still has, by key. */
export async function listRefusals(
  db: Queryable,
  environment: EnvironmentName,
): Promise<readonly Refusal[]> {
  return await db.query<Refusal>(sql`
    select r.channel, r.details, r.opened_at as "openedAt", r.probe_at as "probeAt"
    from channel_refusals r
    join environments e on e.name = r.environment and e.settings -> 'channels' ? r.channel
    where r.environment = ${environment}
    order by r.channel
  `)
}

/** How many hand-overs are wanted of one rate. */
export interface Wanted {
  readonly channel: ChannelKey
  readonly place: string
  readonly count: number
  readonly perSecond: number
}

/**
 * Gives away hand-overs of channels' rates, in one statement for all. Answers when the first of each may
 * be; the others follow at even distance, and nobody else gets them. A rate whose next day is given away
 * is left out.
 */
export async function reserveHandOvers(
  tx: Transaction,
  environment: EnvironmentName,
  wanted: readonly Wanted[],
  now: Date,
): Promise<readonly { channel: ChannelKey; place: string; firstAt: Date }[]> {
  // By whole seconds, so that a second's hand-overs are given in one set.
  const second = new Date(Math.floor(now.getTime() / 1_000) * 1_000)
  // In one order everywhere: two claims never wait for each other.
  const rows = wanted
    .map(({ channel, place, count, perSecond }) => ({ channel, place, span: count / perSecond }))
    .toSorted((one, other) => (keyOf(one) < keyOf(other) ? -1 : 1))
  return await tx.query<{ channel: ChannelKey; place: string; firstAt: Date }>(sql`
    with wanted as (
      select w.channel, w.place, w.span * interval '1 second' as span
      from json_to_recordset(${JSON.stringify(rows)}::json) as w (
        channel text, place text, span double precision
      )
    ), given as (
      insert into channel_rates (environment, channel, place, free_at)
      select ${environment}, channel, place, ${second}::timestamptz + span
      from wanted
      on conflict on constraint channel_rates_pkey do update
      set free_at = greatest(channel_rates.free_at, ${second}) + (excluded.free_at - ${second})
      where channel_rates.free_at < ${second}::timestamptz + interval '1 day'
      returning channel, place, free_at
    )
    select g.channel, g.place, g.free_at - w.span as "firstAt"
    from given g
    join wanted w on w.channel = g.channel and w.place = g.place
  `)
}

function keyOf({ channel, place }: Pick<Wanted, 'channel' | 'place'>): string {
  return `${channel}/${place}`
}

/** A message that is due later, as it was. */
export interface Postponed {
  readonly id: MessageId
  readonly dueAt: Date
  /** The hand-over that it was given, of its channel's rate. */
  readonly reservedAt: Date | null
  /** The new reason, where it has one. */
  readonly reason: string | null
  readonly happenings: readonly MessageHappening[]
}

/** Puts off locked messages that nobody has claimed. */
export async function postponeMessages(
  tx: Transaction,
  environment: EnvironmentName,
  postponed: readonly Postponed[],
  now: Date,
): Promise<void> {
  const rows = postponed.map(({ id, dueAt, reservedAt, reason, happenings }) => ({
    id,
    due_at: dueAt,
    reserved_at: reservedAt,
    reason,
    events: toEvents(happenings, now),
  }))
  await tx.query(sql`
    update messages m
    set due_at = p.due_at, reserved_at = p.reserved_at, reason = coalesce(p.reason, m.reason),
        events = m.events || p.events, enqueued_at = null, updated_at = ${now}
    from json_to_recordset(${JSON.stringify(rows)}::json) as p (
      id uuid, due_at timestamptz, reserved_at timestamptz, reason text, events jsonb
    )
    where m.environment = ${environment} and m.id = p.id
  `)
}

const SWEEP_ROWS_MAX = 1_000
const KEPT_MS = 60_000

/** Deletes rates that all lie behind. Returns how many. */
export async function sweepRates(db: Queryable, now: Date): Promise<number> {
  const rows = await db.query(sql`
    delete from channel_rates
    where (environment, channel, place) in (
      select environment, channel, place
      from channel_rates
      where free_at < ${new Date(now.getTime() - KEPT_MS)}
      order by free_at
      limit ${SWEEP_ROWS_MAX}
      for update skip locked
    )
    returning environment
  `)
  return rows.length
}
