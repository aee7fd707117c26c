import {
  assert,
  constantFrom,
  date,
  integer,
  property,
  record,
  uniqueArray,
  option,
} from 'fast-check'
import { describe, expect, test } from 'vitest'
import { addDuration } from '../../src/language/durations.ts'
import { nextOccurrence, parseRecurrence } from '../../src/language/recurrence.ts'
import { addByOracle, nextByOracle } from './calendar-oracle.ts'

/** Both hemispheres, half and three-quarter hours, a shift by two hours, one at midnight, and zones without shifts. */
const ZONES = [
  'Etc/UTC',
  'Europe/Berlin',
  'Europe/Dublin',
  'America/New_York',
  'America/Santiago',
  'America/St_Johns',
  'Australia/Sydney',
  'Pacific/Auckland',
  'Pacific/Chatham',
  'Asia/Kathmandu',
  'Asia/Beirut',
  'Africa/Cairo',
  'Antarctica/Troll',
]

const zone = constantFrom(...ZONES)
const moment = date({
  min: new Date('2020-01-01T00:00:00Z'),
  max: new Date('2030-01-01T00:00:00Z'),
  noInvalidDate: true,
})
const fiveMinutes = integer({ min: 0, max: 11 }).map((count) => count * 5)
const names = constantFrom('mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun')

function next(rule: object, after: Date, timeZone: string): string | undefined {
  const parsed = parseRecurrence(rule)
  return parsed && nextOccurrence(parsed, after, timeZone).toISOString()
}

describe('over ten years of many zones, an independent reading agrees on', () => {
  test('rules by the day, the week and the month', () => {
    const rule = record({
      frequency: constantFrom('daily', 'weekly', 'monthly'),
      days: option(uniqueArray(names, { minLength: 1 }), { nil: undefined }),
      // Most shifts lie in the first hours of a day.
      hours: integer({ min: 0, max: 27 }).map((hour) => (hour > 23 ? hour - 24 : hour)),
      minutes: fiveMinutes,
      day_of_month: integer({ min: 1, max: 31 }),
    })
    assert(
      property(rule, moment, zone, (one, after, timeZone) => {
        const expected = new Date(nextByOracle(one, after.getTime(), timeZone))
        expect(next(one, after, timeZone)).toBe(expected.toISOString())
      }),
      { numRuns: 2_000 },
    )
  })

  test('rules by the hour', () => {
    const rule = record({ frequency: constantFrom('hourly'), minutes: fiveMinutes })
    assert(
      property(rule, moment, zone, (one, after, timeZone) => {
        const expected = new Date(nextByOracle(one, after.getTime(), timeZone))
        expect(next(one, after, timeZone)).toBe(expected.toISOString())
      }),
      { numRuns: 500 },
    )
  })

  test('durations', () => {
    const duration = record({
      unit: constantFrom('seconds', 'minutes', 'hours', 'days', 'weeks', 'months', 'months'),
      value: integer({ min: -30, max: 30 }),
    })
    assert(
      property(duration, moment, zone, (one, at, timeZone) => {
        const expected = new Date(addByOracle(at.getTime(), one, timeZone))
        expect(addDuration(at, one as Parameters<typeof addDuration>[1], timeZone)).toEqual(
          expected,
        )
      }),
      { numRuns: 2_000 },
    )
  })
})

const daily = (hours: number, minutes: number) => ({ frequency: 'daily', hours, minutes })

describe('where clocks are put forward or back, a daily rule', () => {
  test.each([
    // Put forward in spring: what does not exist comes that much later.
    ['Europe/Berlin', daily(2, 30), '2027-03-27T12:00:00Z', '2027-03-28T01:30:00.000Z'],
    ['Europe/Berlin', daily(3, 0), '2027-03-27T12:00:00Z', '2027-03-28T01:00:00.000Z'],
    ['America/New_York', daily(2, 30), '2027-03-13T12:00:00Z', '2027-03-14T07:30:00.000Z'],
    ['Australia/Sydney', daily(2, 30), '2027-10-02T12:00:00Z', '2027-10-02T16:30:00.000Z'],
    ['Pacific/Auckland', daily(2, 30), '2027-09-25T06:00:00Z', '2027-09-25T14:30:00.000Z'],
    ['Australia/Lord_Howe', daily(2, 15), '2027-10-02T12:00:00Z', '2027-10-02T15:45:00.000Z'],
    ['Antarctica/Troll', daily(1, 30), '2027-03-27T12:00:00Z', '2027-03-28T01:30:00.000Z'],
    // At midnight: the day has none.
    ['America/Santiago', daily(0, 0), '2027-09-04T12:00:00Z', '2027-09-05T04:00:00.000Z'],
    // Put back in autumn: what exists twice comes once, at the first.
    ['Europe/Berlin', daily(2, 30), '2027-10-30T12:00:00Z', '2027-10-31T00:30:00.000Z'],
    ['Europe/Berlin', daily(2, 30), '2027-10-31T00:30:00Z', '2027-11-01T01:30:00.000Z'],
    ['America/New_York', daily(1, 30), '2027-11-06T12:00:00Z', '2027-11-07T05:30:00.000Z'],
    ['America/New_York', daily(1, 30), '2027-11-07T05:30:00Z', '2027-11-08T06:30:00.000Z'],
    ['Australia/Sydney', daily(2, 30), '2027-04-03T06:00:00Z', '2027-04-03T15:30:00.000Z'],
    ['Pacific/Auckland', daily(2, 30), '2027-04-03T06:00:00Z', '2027-04-03T13:30:00.000Z'],
    ['Australia/Lord_Howe', daily(1, 45), '2027-04-03T06:00:00Z', '2027-04-03T14:45:00.000Z'],
    // Between the two: still the next day.
    ['Europe/Berlin', daily(2, 30), '2027-10-31T01:00:00Z', '2027-11-01T01:30:00.000Z'],
  ])('in %s %j after %s comes at %s', (timeZone, rule, after, expected) => {
    expect(next(rule, new Date(after), timeZone)).toBe(expected)
  })
})

describe('a month', () => {
  test.each([
    // Month ends, and leap days.
    ['2027-01-31T12:00:00Z', 1, '2027-02-28T12:00:00.000Z'],
    ['2028-01-31T12:00:00Z', 1, '2028-02-29T12:00:00.000Z'],
    ['2028-02-29T12:00:00Z', 12, '2029-02-28T12:00:00.000Z'],
    ['2028-02-29T12:00:00Z', 48, '2032-02-29T12:00:00.000Z'],
    ['2027-03-31T12:00:00Z', -1, '2027-02-28T13:00:00.000Z'],
    ['2027-08-31T12:00:00Z', 1, '2027-09-30T12:00:00.000Z'],
    // Over a shift it keeps the time on the wall, where a day is elapsed time.
    ['2027-03-15T12:00:00Z', 1, '2027-04-15T11:00:00.000Z'],
  ])('after %s, %i of them, is %s', (at, value, expected) => {
    const later = addDuration(new Date(at), { unit: 'months', value }, 'Europe/Berlin')
    expect(later.toISOString()).toBe(expected)
  })

  test.each([
    [31, '2027-01-31T12:00:00Z', '2027-02-27T23:00:00.000Z'],
    [31, '2028-02-01T12:00:00Z', '2028-02-28T23:00:00.000Z'],
    [29, '2027-02-01T12:00:00Z', '2027-02-27T23:00:00.000Z'],
    [29, '2028-02-01T12:00:00Z', '2028-02-28T23:00:00.000Z'],
    [30, '2027-03-30T12:00:00Z', '2027-04-29T22:00:00.000Z'],
    [31, '2027-04-01T12:00:00Z', '2027-04-29T22:00:00.000Z'],
  ])('by its day %i after %s comes at %s', (day, after, expected) => {
    const rule = { frequency: 'monthly', day_of_month: day }
    expect(next(rule, new Date(after), 'Europe/Berlin')).toBe(expected)
  })

  test('a day is 24 hours, whatever the clock does', () => {
    const later = addDuration(new Date('2027-03-27T12:00:00Z'), '1d', 'Europe/Berlin')
    expect(later.toISOString()).toBe('2027-03-28T12:00:00.000Z')
  })
})
