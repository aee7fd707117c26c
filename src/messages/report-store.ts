import { createHash } from 'node:crypto'
import { scrubExchange, scrubText } from '../channels/exchange.ts'
import type { Report } from '../channels/report.ts'
import type { Queryable, Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import { isUuid } from '../ids.ts'
import type { EnvironmentName, MessageId } from '../ids.ts'
import type { MessageContent } from '../steps/step.ts'
import type { Channel } from '../workflow/environment.ts'
import { forgetDevices, forgetsDevices } from './bounce-store.ts'
import { insertDeliveries, toEvents } from './delivery-store.ts'
import type { Delivery } from './delivery-store.ts'
import { noteEvents } from './happenings.ts'
import type { MessageHappening } from './message.ts'
import { applyReport, type ReportedMessage } from './report.ts'
import { addressOf, insertSuppressions, mailKey, suppresses } from './suppressions.ts'
import type { NewSuppression } from './suppressions.ts'

/** What came in one call, or with one answer. */
export interface Reporting {
  readonly environment: EnvironmentName
  readonly channel: Channel
  readonly reports: readonly Report[]
  /** How it came: the line of a request, for the log. */
  readonly by: { readonly method: string; readonly path: string }
  /** Texts that must not be kept. */
  readonly secrets: readonly string[]
}

interface Row extends ReportedMessage {
  readonly id: MessageId
  readonly content: MessageContent
  /** How many there are. */
  readonly events: number
}

/** A report of a message that is there. */
interface Known {
  readonly row: Row
  readonly report: Report
}

/** Of entries in a message's history, as with marks. */
const EVENTS_MAX = 500
const DETAILS_LENGTH_MAX = 500
const URL_LENGTH_MAX = 2_000
const REFERENCE_LENGTH_MAX = 500
/** Longer than any call may be on its way. */
const KEPT_MS = 48 * 60 * 60 * 1000
const SWEEP_ROWS_MAX = 1_000

/**
 * Takes what a service tells of messages of one channel, with a fixed number of statements. Reports of messages that
 * are not there, or not of this channel, and such as tell nothing new change nothing. A message that is being handed
 * over meanwhile is taken away from whoever does: the service has it. Answers how many messages were changed.
 */
export async function takeReports(
  tx: Transaction,
  reporting: Reporting,
  now: Date,
): Promise<number> {
  const { environment, channel, reports } = reporting
  const rows = await lockReported(tx, reporting)
  if (rows.length === 0) return 0
  const byId = new Map(rows.map((row) => [row.id as string, row]))
  const known = reports.flatMap((report): readonly Known[] => {
    const row = byId.get(String(report.message).toLowerCase())
    return row && isOfRecipient(row, report) ? [{ row, report }] : []
  })
  const fresh = await withoutRepeated(tx, reporting, { known, now })
  const after = [...Map.groupBy(fresh, ({ row }) => row)].flatMap(([row, own]) => {
    const changed = fold(row, own, reporting, now)
    return changed ? [changed] : []
  })
  if (after.length === 0) return 0
  await saveReported(tx, environment, after, now)
  await insertSuppressions(tx, suppressionsOf(reporting, after), now)
  if (forgetsDevices(channel)) await forgetDevices(tx, devicesOf(environment, after), now)
  const messages = after.flatMap(({ row, happenings }) =>
    happenings.map((happening) => ({ environment, message: row.id, ...happening })),
  )
  await noteEvents(tx, { messages }, now)
  await insertDeliveries(
    tx,
    after.flatMap((one) => one.logged),
  )
  return after.length
}

/** What must not come twice: true the first time in two days. */
export async function isFirstTime(
  tx: Transaction,
  { environment, channel }: Pick<Reporting, 'environment' | 'channel'>,
  token: string,
  now: Date,
): Promise<boolean> {
  const first = await keepDigests(tx, { environment, channel, digests: [digestOf(token)] }, now)
  return first.size > 0
}

interface After {
  readonly row: Row
  readonly next: ReportedMessage
  readonly happenings: readonly MessageHappening[]
  readonly reference: string | null
  /** Whether its delivery has come to an end by this. */
  readonly isMoved: boolean
  /** Because of what its address takes nothing more. */
  readonly last: Report | undefined
  readonly logged: readonly Delivery[]
}

/** One message after all that was told of it, in the order in which it was told; undefined where that is nothing new. */
function fold(
  row: Row,
  told: readonly Known[],
  reporting: Reporting,
  now: Date,
): After | undefined {
  const { environment, channel, secrets } = reporting
  let next: ReportedMessage = row
  const happenings: MessageHappening[] = []
  const effective: Report[] = []
  for (const { report } of told) {
    const details = textOf(report.details, secrets, DETAILS_LENGTH_MAX)
    const url = textOf(report.url, secrets, URL_LENGTH_MAX)
    const after = applyReport(next, { fate: report.fate, details, url }, now)
    if (!after) continue
    next = after.message
    happenings.push(...after.happenings)
    effective.push(report)
  }
  if (effective.length === 0) return undefined
  const references = effective.map((one) => textOf(one.reference, secrets, REFERENCE_LENGTH_MAX))
  const { id, attempt } = row
  const { provider: service } = channel
  return {
    row,
    next,
    happenings,
    reference: references.find((one) => one !== null) ?? null,
    isMoved: next.status !== row.status,
    last: effective.find(({ fate }) => fate === 'gone' || fate === 'complained'),
    logged: effective.map((report) => {
      const exchange = exchangeOf(report, reporting)
      return { environment, id, attempt, service, exchange, at: now }
    }),
  }
}

/** As one thing that went over the wire, although it was the service that asked. */
function exchangeOf({ shown }: Report, { by, secrets }: Reporting): Delivery['exchange'] {
  return scrubExchange(
    {
      request: { ...by, host: '', headers: {}, body: shown },
      response: { status: 200, headers: {}, body: null },
    },
    secrets,
  )
}

function textOf(value: unknown, secrets: readonly string[], lengthMax: number): string | null {
  if (typeof value !== 'string' || value === '') return null
  return scrubText(value, secrets).slice(0, lengthMax).toWellFormed()
}

/** A mail may have gone to others as well, and what became of theirs is not what became of the message. */
function isOfRecipient({ content }: Row, { address }: Report): boolean {
  if (content.type !== 'email' || typeof address !== 'string') return true
  return mailKey(address) === addressOf(content)
}

function suppressionsOf(
  { environment, channel, secrets }: Reporting,
  after: readonly After[],
): readonly NewSuppression[] {
  if (!suppresses(channel)) return []
  return after.flatMap(({ row, last }) => {
    const address = addressOf(row.content)
    if (address === undefined || last === undefined) return []
    const details = textOf(last.details, secrets, DETAILS_LENGTH_MAX)
    const reason = last.fate === 'gone' ? 'bounced' : 'complained'
    return [{ environment, channel: channel.key, address, reason, details, messageId: row.id }]
  })
}

function devicesOf(environment: EnvironmentName, after: readonly After[]) {
  return after.flatMap(({ row, last }) =>
    last?.fate === 'gone' ? [{ environment, id: row.id }] : [],
  )
}

/** A click and a complaint count each time: one that is told again is known by what was told. */
async function withoutRepeated(
  tx: Transaction,
  { environment, channel }: Reporting,
  { known, now }: { readonly known: readonly Known[]; readonly now: Date },
): Promise<readonly Known[]> {
  const digests = new Map(
    known.flatMap((one) => {
      const { fate, address, shown } = one.report
      const isEach = fate === 'clicked' || fate === 'complained'
      return isEach
        ? [[one, digestOf(JSON.stringify([one.row.id, fate, address, shown]))] as const]
        : []
    }),
  )
  if (digests.size === 0) return known
  const first = await keepDigests(tx, { environment, channel, digests: [...digests.values()] }, now)
  return known.filter((one) => {
    const digest = digests.get(one)
    return digest === undefined || first.delete(digest.toString('hex'))
  })
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

/** Keeps those that are not kept yet, and answers them in hex. */
async function keepDigests(
  tx: Transaction,
  {
    environment,
    channel,
    digests,
  }: Pick<Reporting, 'environment' | 'channel'> & { readonly digests: readonly Buffer[] },
  now: Date,
): Promise<Set<string>> {
  const rows = await tx.query<{ digest: Buffer }>(sql`
    insert into channel_reports (environment, channel, digest, received_at)
    select distinct ${environment}, ${channel.key}, d.digest, ${now}::timestamptz
    from unnest(${digests}::bytea[]) as d (digest)
    order by d.digest
    on conflict on constraint channel_reports_pkey do nothing
    returning digest
  `)
  return new Set(rows.map(({ digest }) => digest.toString('hex')))
}

/** In id order, as everybody locks messages. */
async function lockReported(
  tx: Transaction,
  { environment, channel, reports }: Reporting,
): Promise<readonly Row[]> {
  const ids = reports.flatMap(({ message }) =>
    typeof message === 'string' && isUuid(message) ? [message] : [],
  )
  if (ids.length === 0) return []
  return await tx.query<Row>(sql`
    select id, status, reason, attempt, content, jsonb_array_length(events) as events,
           seen_at as "seenAt", read_at as "readAt", interacted_at as "interactedAt",
           link_clicked_at as "linkClickedAt", archived_at as "archivedAt"
    from messages
    where environment = ${environment}
      and channel = ${channel.key}
      and id = any(${ids}::uuid[])
    order by id
    for update
  `)
}

async function saveReported(
  tx: Transaction,
  environment: EnvironmentName,
  after: readonly After[],
  now: Date,
): Promise<void> {
  const rows = after.map(({ row, next, happenings, reference, isMoved }) => ({
    id: row.id,
    status: next.status,
    reason: next.reason,
    moved: isMoved,
    reference,
    seen_at: next.seenAt,
    read_at: next.readAt,
    link_clicked_at: next.linkClickedAt,
    events: row.events < EVENTS_MAX ? toEvents(happenings, now) : [],
  }))
  await tx.query(sql`
    update messages m
    set status = r.status, reason = r.reason, reference = coalesce(m.reference, r.reference),
        due_at = case when not r.moved then m.due_at end,
        claimed_by = case when not r.moved then m.claimed_by end,
        claimed_at = case when not r.moved then m.claimed_at end,
        enqueued_at = case when not r.moved then m.enqueued_at end,
        seen_at = r.seen_at, read_at = r.read_at, link_clicked_at = r.link_clicked_at,
        events = m.events || r.events, updated_at = ${now}
    from json_to_recordset(${JSON.stringify(rows)}::json) as r (
      id uuid, status text, reason text, moved boolean, reference text, seen_at timestamptz,
      read_at timestamptz, link_clicked_at timestamptz, events jsonb
    )
    where m.environment = ${environment} and m.id = r.id
  `)
}

/** Deletes what has been kept for long enough. Answers how many. */
export async function sweepChannelReports(db: Queryable, now: Date): Promise<number> {
  const rows = await db.query(sql`
    delete from channel_reports
    where (environment, channel, digest) in (
      select environment, channel, digest
      from channel_reports
      where received_at < ${new Date(now.getTime() - KEPT_MS)}
      order by received_at
      limit ${SWEEP_ROWS_MAX}
      for update skip locked
    )
    returning environment
  `)
  return rows.length
}
