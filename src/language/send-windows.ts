import { Temporal } from 'temporal-polyfill'
import { WEEKDAYS, weekdaysOf } from './recurrence.ts'
import type { WeekdayNames } from './recurrence.ts'

/** When messages may be sent: on these days, from one time of the day until another. */
export interface SendWindow {
  readonly days: WeekdayNames
  /** `HH:MM`; the beginning of the day where it is left out. */
  readonly from?: string
  /** `HH:MM`, itself not inside; the end of the day where it is left out. */
  readonly until?: string
}

const time = (description: string, pattern: string) => ({ description, type: 'string', pattern })

/** At least one window; what lies in none of them waits for the next. */
export const sendWindowsSchema = {
  description:
    "When it may be sent, such as `[{ days: weekdays, from: '09:00', until: '18:00' }]`, in the recipient's time zone; a message that is made outside waits for the next window, and the run goes on.",
  type: 'array',
  minItems: 1,
  maxItems: 50,
  items: {
    type: 'object',
    required: ['days'],
    properties: {
      days: {
        description: '`weekdays`, `weekends`, or a list of `mon` to `sun`.',
        oneOf: [
          { enum: ['weekdays', 'weekends'] },
          {
            type: 'array',
            minItems: 1,
            maxItems: 7,
            uniqueItems: true,
            items: { enum: [...WEEKDAYS] },
          },
        ],
      },
      from: time(
        'From when on; the beginning of the day where it is left out.',
        '^([01][0-9]|2[0-3]):[0-5][0-9]$',
      ),
      until: time(
        'Until when, itself not inside; the end of the day where it is left out.',
        '^([01][0-9]|2[0-3]):[0-5][0-9]$',
      ),
    },
    additionalProperties: false,
  },
} as const

const DAY_END = '24:00'
/** A week, a day that a zone leaves out, and the day under way. */
const DAYS_MAX = 9
const WEEK_MS = 7 * 86_400_000

/** The windows that end no later than they begin, by their place in the list. */
export function emptyWindows(windows: readonly SendWindow[]): readonly number[] {
  return windows.flatMap((window, index) => (fromOf(window) < untilOf(window) ? [] : [index]))
}

/**
 * The first moment from `at` on that lies in one of the windows, by the clock on the wall in `timeZone` (an
 * IANA name): `at` itself where it does. An hour that the zone has twice is inside both times, and of one that
 * it leaves out nothing is.
 */
export function nextOpening(windows: readonly SendWindow[], at: Date, timeZone: string): Date {
  const from = Temporal.Instant.fromEpochMilliseconds(at.getTime()).toZonedDateTimeISO(timeZone)
  if (isOpen(windows, from)) return at
  const moments = [...beginnings(windows, from), ...shifts(from)]
    .filter((moment) => moment.epochMilliseconds > at.getTime() && isOpen(windows, moment))
    .map(({ epochMilliseconds }) => epochMilliseconds)
  return moments.length === 0 ? at : new Date(Math.min(...moments))
}

function isOpen(windows: readonly SendWindow[], moment: Temporal.ZonedDateTime): boolean {
  const now = moment.toPlainTime().toString({ smallestUnit: 'minute' })
  return windows.some(
    (window) =>
      weekdaysOf(window.days).has(moment.dayOfWeek) &&
      fromOf(window) <= now &&
      now < untilOf(window),
  )
}

/** Where windows begin in the days after, each time that the clock shows it. */
function beginnings(
  windows: readonly SendWindow[],
  from: Temporal.ZonedDateTime,
): readonly Temporal.ZonedDateTime[] {
  const { timeZoneId } = from
  return Array.from({ length: DAYS_MAX }, (_, days) => from.toPlainDate().add({ days })).flatMap(
    (date) =>
      windows
        .filter(({ days }) => weekdaysOf(days).has(date.dayOfWeek))
        .flatMap((window) => {
          const local = date.toPlainDateTime(Temporal.PlainTime.from(fromOf(window)))
          return (['earlier', 'later'] as const).map((disambiguation) =>
            local.toZonedDateTime(timeZoneId, { disambiguation }),
          )
        }),
  )
}

/** Where the clock of the zone is put forward or back in the week after. */
function shifts(from: Temporal.ZonedDateTime): readonly Temporal.ZonedDateTime[] {
  const next = from.getTimeZoneTransition('next')
  if (next === null || next.epochMilliseconds - from.epochMilliseconds > WEEK_MS) return []
  return [next]
}

function fromOf({ from = '00:00' }: SendWindow): string {
  return from
}

function untilOf({ until = DAY_END }: SendWindow): string {
  return until
}
