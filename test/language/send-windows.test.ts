import {
  array,
  assert,
  constantFrom,
  integer,
  property,
  record,
  tuple,
  uniqueArray,
} from 'fast-check'
import { describe, expect, test } from 'vitest'
import { WEEKDAYS } from '../../src/language/recurrence.ts'
import { emptyWindows, nextOpening, type SendWindow } from '../../src/language/send-windows.ts'

const office: readonly SendWindow[] = [{ days: 'weekdays', from: '09:00', until: '18:00' }]

function opening(windows: readonly SendWindow[], at: string, zone = 'Europe/Berlin'): string {
  return nextOpening(windows, new Date(at), zone).toISOString()
}

describe('the next opening', () => {
  test.each([
    ['at once inside', '2027-03-01T08:00:00Z', '2027-03-01T08:00:00.000Z'],
    ['until the last second', '2027-03-01T16:59:59Z', '2027-03-01T16:59:59.000Z'],
    ['on the same day before it', '2027-03-01T07:59:59Z', '2027-03-01T08:00:00.000Z'],
    ['on the next day behind it', '2027-03-01T17:00:00Z', '2027-03-02T08:00:00.000Z'],
    ['after the weekend', '2027-03-05T17:00:00Z', '2027-03-08T08:00:00.000Z'],
  ])('is %s', (_, at, expected) => {
    expect(opening(office, at)).toBe(expected)
  })

  test('is by the clock of the zone', () => {
    expect(opening(office, '2027-03-01T08:00:00Z', 'Asia/Tokyo')).toBe('2027-03-01T08:00:00.000Z')
    expect(opening(office, '2027-03-01T09:00:00Z', 'Asia/Tokyo')).toBe('2027-03-02T00:00:00.000Z')
    expect(opening(office, '2027-03-01T08:00:00Z', 'America/New_York')).toBe(
      '2027-03-01T14:00:00.000Z',
    )
  })

  test('is in the nearest of several windows, each with a whole day where it says no times', () => {
    const windows = [
      { days: ['sun'], until: '10:00' },
      { days: ['sat'], from: '22:00' },
      { days: ['wed'] },
    ] as const
    expect(opening(windows, '2027-03-01T12:00:00Z')).toBe('2027-03-02T23:00:00.000Z')
    expect(opening(windows, '2027-03-06T12:00:00Z')).toBe('2027-03-06T21:00:00.000Z')
    expect(opening(windows, '2027-03-06T23:30:00Z')).toBe('2027-03-06T23:30:00.000Z')
    expect(opening(windows, '2027-03-07T09:00:00Z')).toBe('2027-03-09T23:00:00.000Z')
  })

  test('is at the end of an hour that the clock leaves out, and in both of one that it has twice', () => {
    const night = [{ days: ['sun'], from: '02:30', until: '04:00' }] as const
    expect(opening(night, '2027-03-28T00:00:00Z')).toBe('2027-03-28T01:00:00.000Z')
    expect(opening(night, '2027-10-31T00:00:00Z')).toBe('2027-10-31T00:30:00.000Z')
    const short = [{ days: ['sun'], from: '02:15', until: '02:45' }] as const
    expect(opening(short, '2027-10-31T00:50:00Z')).toBe('2027-10-31T01:15:00.000Z')
    expect(opening(short, '2027-03-28T00:00:00Z')).toBe('2027-04-04T00:15:00.000Z')
  })
})

const minutes = integer({ min: 0, max: 95 }).map((quarter) => quarter * 15)
const span = tuple(minutes, minutes).filter(([from, until]) => from < until)
const days = uniqueArray(constantFrom(...WEEKDAYS), { minLength: 1, maxLength: 7 })
const windows = array(
  record({ days, span }).map(({ days: on, span: [from, until] }): SendWindow => {
    return { days: on, from: clockText(from), until: clockText(until) }
  }),
  { minLength: 1, maxLength: 3 },
)
/** Days around which these zones put their clocks forward or back, by an hour and by half of one. */
const places = constantFrom(
  ['Europe/Berlin', '2027-03-26T00:00:00Z'],
  ['Europe/Berlin', '2027-10-29T00:00:00Z'],
  ['America/New_York', '2027-11-05T00:00:00Z'],
  ['Australia/Lord_Howe', '2027-04-02T00:00:00Z'],
  ['Australia/Lord_Howe', '2027-10-01T00:00:00Z'],
  ['America/Sao_Paulo', '2018-11-02T00:00:00Z'],
  ['Asia/Kathmandu', '2027-01-01T00:00:00Z'],
)

function clockText(minute: number): string {
  return `${twoDigits(Math.floor(minute / 60))}:${twoDigits(minute % 60)}`
}

function twoDigits(value: number): string {
  return String(value).padStart(2, '0')
}

/** Looks at each quarter of an hour, one after the other. */
function scan(list: readonly SendWindow[], from: Date, zone: string): number {
  const quarter = 900_000
  const show = new Intl.DateTimeFormat('en-GB', {
    timeZone: zone,
    weekday: 'short',
    hour: '2-digit',
    minute: '2-digit',
  })
  const isIn = (ms: number) => {
    const parts = Object.fromEntries(show.formatToParts(ms).map(({ type, value }) => [type, value]))
    const now = `${parts['hour']}:${parts['minute']}`
    const day = parts['weekday']!.toLowerCase()
    return list.some(
      (one) =>
        (one.days as readonly string[]).includes(day) && one.from! <= now && now < one.until!,
    )
  }
  if (isIn(from.getTime())) return from.getTime()
  let ms = (Math.floor(from.getTime() / quarter) + 1) * quarter
  while (!isIn(ms)) ms += quarter
  return ms
}

test('the next opening is what looking at each quarter of an hour finds, also where clocks change', () => {
  const rule = property(
    windows,
    places,
    integer({ min: 0, max: 6 * 1_440 }),
    (list, place, minute) => {
      const [zone, start] = place as [string, string]
      const at = new Date(new Date(start).getTime() + minute * 60_000)
      return nextOpening(list, at, zone).getTime() === scan(list, at, zone)
    },
  )
  expect(() => assert(rule, { numRuns: 200 })).not.toThrow()
})

test('a window that ends no later than it begins is never open', () => {
  const list = [
    ...office,
    { days: 'weekends', from: '10:00', until: '10:00' },
    { days: 'weekends', from: '22:00', until: '06:00' },
  ] as const
  expect(emptyWindows(list)).toEqual([1, 2])
})
