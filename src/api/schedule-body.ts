import { repeatRuleSchema } from '../language/recurrence.ts'
import { parseTimestamp } from '../language/timestamps.ts'
import { invalid } from '../recipients/recipient.ts'
import {
  firstOccurrence,
  replan,
  toWireRule,
  type Planned,
  type Schedule,
  type Timing,
} from '../recipients/schedule.ts'
import { ActorRequest, TenantRequest } from './shapes/recipients.ts'
import type { BodyReader } from '../runs/trigger-request.ts'

/** What one schedule may bring into its runs: it is kept for each of its recipients. */
const DATA_BYTES_MAX = 256 * 1024

/** Rules of one schedule. */
const REPEATS_MAX = 20

/** What replies call a rule may come back with it. */
const ruleSchema = {
  ...repeatRuleSchema,
  properties: { ...repeatRuleSchema.properties, __typename: { type: ['string', 'null'] } },
}

/** Fields of a body that say what schedules start and when. */
export const timingFields = {
  repeats: { type: ['array', 'null'], maxItems: REPEATS_MAX, items: ruleSchema },
  scheduled_at: { type: ['string', 'null'] },
  ending_at: { type: ['string', 'null'] },
  data: { type: ['object', 'null'] },
  paused: { type: ['boolean', 'null'] },
  actor: ActorRequest,
  tenant: TenantRequest,
} as const

/** What a body says of the time of schedules, of their data, and whether they pause. */
export interface TimingBody {
  readonly repeats?: readonly Readonly<Record<string, unknown>>[] | null
  readonly scheduled_at?: string | null
  readonly ending_at?: string | null
  readonly data?: Readonly<Record<string, unknown>> | null
  readonly paused?: boolean | null
}

/** Reads the time of a new schedule; what is wrong with it is told to the reader. */
export function readTiming(reader: BodyReader, body: TimingBody, now: Date): Timing {
  const scheduledAt = readTime(reader, '/scheduled_at', body.scheduled_at)
  const endingAt = readTime(reader, '/ending_at', body.ending_at)
  const repeats = (body.repeats ?? []).map(toWireRule)
  return { repeats, scheduledAt, endingAt, anchorAt: scheduledAt ?? now }
}

function readTime(reader: BodyReader, field: string, value: unknown): Date | null {
  if (value == null) return null
  const at = parseTimestamp(value)
  if (at !== undefined) return new Date(at)
  reader.refuse(field, 'is not an ISO 8601 time')
  return null
}

/** Throws a 422 `RequestError` where a schedule has no time, or can never occur. */
export function checkTiming(schedules: readonly (Timing & { readonly paused: boolean })[]): void {
  for (const timing of schedules) {
    const { repeats, scheduledAt, endingAt } = timing
    if (repeats.length === 0 && scheduledAt === null)
      throw invalid('/repeats', 'is missing or empty, and so is scheduled_at: say when')
    if (scheduledAt !== null && endingAt !== null && endingAt < scheduledAt)
      throw invalid('/ending_at', 'lies before scheduled_at')
    const endless = { ...timing, endingAt: null }
    for (const [index, rule] of repeats.entries()) {
      const one = { ...endless, repeats: [rule] }
      if (firstOccurrence(one, timing.anchorAt, 'UTC') === null)
        throw invalid(`/repeats/${index}`, 'passes over all of its days: it never occurs')
    }
  }
}

/** Throws a 422 `RequestError` where the data of a schedule is too large to be kept. */
export function checkSize(planned: readonly Pick<Planned, 'data'>[]): void {
  for (const { data } of planned) {
    if (Buffer.byteLength(JSON.stringify(data)) <= DATA_BYTES_MAX) continue
    throw invalid('/data', `is larger than ${DATA_BYTES_MAX} bytes`)
  }
}

/** What is to be another in a schedule; undefined stays as it is. */
export interface Change extends TimingBody {
  readonly actor: Planned['actor'] | undefined
  readonly tenant: string | null | undefined
}

/** A schedule with a change. */
export function applyChange(
  schedule: Schedule,
  change: Change,
  { now, timezone }: { readonly now: Date; readonly timezone: string },
): Schedule {
  const { actor = schedule.actor, tenant = schedule.tenant, repeats, data } = change
  const after = {
    ...schedule,
    actor,
    tenant,
    data: data === undefined ? schedule.data : (data ?? {}),
    paused: change.paused ?? schedule.paused,
    repeats: repeats === undefined ? schedule.repeats : (repeats ?? []).map(toWireRule),
    scheduledAt: timeOf(change.scheduled_at, schedule.scheduledAt),
    endingAt: timeOf(change.ending_at, schedule.endingAt),
  }
  return replan(schedule, after, { now, timezone, first: firstOccurrence })
}

function timeOf(value: string | null | undefined, before: Date | null): Date | null {
  if (value === undefined) return before
  const at = value === null ? undefined : parseTimestamp(value)
  return at === undefined ? null : new Date(at)
}
