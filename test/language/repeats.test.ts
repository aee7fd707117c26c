import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { nextOccurrence, nextRepeat, parseRepeatRule } from '../../src/language/recurrence.ts'

interface Asked {
  readonly zone?: string
  readonly anchor?: string
  readonly count?: number
}

/** The next occurrences of a rule, one behind the other. */
function occurrences(rule: object, after: string, asked: Asked = {}): readonly string[] {
  const { zone: timeZone = 'Europe/Berlin', count = 3 } = asked
  const parsed = parseRepeatRule(rule)
  if (!parsed) throw new Error('no rule')
  const anchor = new Date(asked.anchor ?? after)
  const found: string[] = []
  let from = new Date(after)
  for (let index = 0; index < count; index += 1) {
    const next = nextRepeat(parsed, from, { timeZone, anchor })
    if (!next) break
    found.push(next.toISOString().replace(':00.000Z', 'Z'))
    from = next
  }
  return found
}

const at = (hours: number, minutes = 0) => ({ frequency: 'daily', hours, minutes })

describe('where the clock is set forward, what does not exist is that much later', () => {
  test.each([
    ['Europe/Berlin', at(2, 30), '2027-03-27', ['03-27T01:30Z', '03-28T01:30Z', '03-29T00:30Z']],
    ['America/New_York', at(2, 30), '2027-03-13', ['03-13T07:30Z', '03-14T07:30Z', '03-15T06:30Z']],
    ['Australia/Sydney', at(2, 30), '2027-10-01', ['10-01T16:30Z', '10-02T16:30Z', '10-03T15:30Z']],
    // By half an hour, at two o'clock.
    [
      'Australia/Lord_Howe',
      at(2, 15),
      '2027-10-01',
      ['10-01T15:45Z', '10-02T15:45Z', '10-03T15:15Z'],
    ],
    // At midnight: the day begins at one.
    [
      'America/Santiago',
      at(0),
      '2027-09-04T05:00',
      ['09-05T04:00Z', '09-06T03:00Z', '09-07T03:00Z'],
    ],
    [
      'Africa/Cairo',
      at(0, 30),
      '2027-04-28T12:00',
      ['04-28T22:30Z', '04-29T22:30Z', '04-30T21:30Z'],
    ],
  ])('in %s', (zone, rule, after, expected) => {
    const from = after.includes('T') ? `${after}:00Z` : `${after}T00:00:00Z`
    expect(occurrences(rule, from, { zone })).toEqual(expected.map((time) => `2027-${time}`))
  })
})

describe('where the clock is set back, what exists twice is the first, once', () => {
  test.each([
    ['Europe/Berlin', at(2, 30), '2027-10-30', ['10-30T00:30Z', '10-31T00:30Z', '11-01T01:30Z']],
    ['America/New_York', at(1, 30), '2027-11-06', ['11-06T05:30Z', '11-07T05:30Z', '11-08T06:30Z']],
    ['Australia/Sydney', at(2, 30), '2027-04-02', ['04-02T15:30Z', '04-03T15:30Z', '04-04T16:30Z']],
    [
      'Australia/Lord_Howe',
      at(1, 45),
      '2027-04-02',
      ['04-02T14:45Z', '04-03T14:45Z', '04-04T15:15Z'],
    ],
    [
      'America/Santiago',
      at(23, 30),
      '2027-04-02T12:00',
      ['04-03T02:30Z', '04-04T02:30Z', '04-05T03:30Z'],
    ],
  ])('in %s', (zone, rule, after, expected) => {
    const from = after.includes('T') ? `${after}:00Z` : `${after}T00:00:00Z`
    expect(occurrences(rule, from, { zone })).toEqual(expected.map((time) => `2027-${time}`))
  })
})

describe('hours', () => {
  const hourly = { frequency: 'hourly', minutes: 15 }

  test('are those that pass: none is left out or doubled where the clock changes', () => {
    expect(occurrences(hourly, '2027-03-28T00:00:00Z')).toEqual(
      ['00:15', '01:15', '02:15'].map((time) => `2027-03-28T${time}Z`),
    )
    expect(occurrences(hourly, '2027-10-31T00:00:00Z')).toEqual(
      ['00:15', '01:15', '02:15'].map((time) => `2027-10-31T${time}Z`),
    )
  })

  test('keep their minute where the clock changes by half an hour', () => {
    const zone = 'Australia/Lord_Howe'
    const found = occurrences(hourly, '2027-10-02T14:00:00Z', { zone, count: 4 })
    expect(found).toEqual(['14:45', '15:45', '16:15', '17:15'].map((time) => `2027-10-02T${time}Z`))
  })

  test('are counted from the start by their interval', () => {
    const asked = { anchor: '2027-03-01T05:20:00Z' }
    const each = { ...hourly, interval: 5 }
    expect(occurrences(each, '2027-03-01T05:20:00Z', asked)).toEqual(
      ['10:15', '15:15', '20:15'].map((time) => `2027-03-01T${time}Z`),
    )
    expect(occurrences(each, '2027-03-03T09:00:00Z', asked)).toEqual(
      ['12:15', '17:15', '22:15'].map((time) => `2027-03-03T${time}Z`),
    )
  })

  test('of some days are found behind the others', () => {
    const rule = { frequency: 'hourly', interval: 6, days: ['sun'] }
    const found = occurrences(rule, '2027-03-01T00:00:00Z', { zone: 'UTC', count: 5 })
    expect(found).toEqual([
      ...['00', '06', '12', '18'].map((hour) => `2027-03-07T${hour}:00Z`),
      '2027-03-14T00:00Z',
    ])
  })
})

describe('days, weeks and months', () => {
  const zone = 'UTC'

  test('are counted from the day of the start, with what has passed of it', () => {
    const rule = { ...at(9), interval: 2 }
    const days = occurrences(rule, '2027-03-01T12:00:00Z', { zone })
    expect(days).toEqual(['2027-03-03T09:00Z', '2027-03-05T09:00Z', '2027-03-07T09:00Z'])
    const far = { zone, anchor: '2020-01-01T00:00:00Z', count: 1 }
    // 2,616 days behind.
    expect(occurrences({ ...at(9), interval: 4 }, '2027-02-28T12:00:00Z', far)).toEqual([
      '2027-03-01T09:00Z',
    ])
  })

  test('of an interval begin on Mondays, and on each named day in its weeks', () => {
    const rule = { frequency: 'weekly', interval: 2, days: ['tue', 'sun'], hours: 9 }
    const found = occurrences(rule, '2027-03-04T00:00:00Z', { zone, count: 4 })
    expect(found).toEqual(['03-07', '03-16', '03-21', '03-30'].map((day) => `2027-${day}T09:00Z`))
  })

  test('end months where those are shorter, also in February', () => {
    const rule = { frequency: 'monthly', day_of_month: 31 }
    const found = occurrences(rule, '2027-12-31T12:00:00Z', { zone, count: 4 })
    expect(found).toEqual(['01-31', '02-29', '03-31', '04-30'].map((day) => `2028-${day}T00:00Z`))
    const leap = { frequency: 'monthly', day_of_month: 29, interval: 12 }
    const years = occurrences(leap, '2027-02-01T00:00:00Z', { zone, count: 3 })
    expect(years).toEqual(['2027-02-28T00:00Z', '2028-02-29T00:00Z', '2029-02-28T00:00Z'])
  })

  test('each third month are those of the start', () => {
    const rule = { frequency: 'monthly', interval: 3, day_of_month: 15, hours: 8 }
    const found = occurrences(rule, '2027-01-20T00:00:00Z', { zone })
    expect(found).toEqual(['2027-04-15T08:00Z', '2027-07-15T08:00Z', '2027-10-15T08:00Z'])
  })

  test('may never meet: then there is no occurrence', () => {
    const never = { ...at(9), interval: 14, days: ['tue'] }
    expect(occurrences(never, '2027-03-01T12:00:00Z', { zone })).toEqual([])
    const hours = { frequency: 'hourly', interval: 168, days: ['tue'] }
    expect(occurrences(hours, '2027-03-01T12:00:00Z', { zone })).toEqual([])
    const sometimes = { ...at(9), interval: 13, days: ['tue'] }
    expect(occurrences(sometimes, '2027-03-01T12:00:00Z', { zone, count: 1 })).toEqual([
      '2027-05-18T09:00Z',
    ])
  })

  test('that a zone has left out are the next one, once', () => {
    const asked = { zone: 'Pacific/Apia' }
    expect(occurrences(at(9), '2011-12-28T20:00:00Z', asked)).toEqual([
      '2011-12-29T19:00Z',
      '2011-12-30T19:00Z',
      '2011-12-31T19:00Z',
    ])
  })
})

test('a start ahead has its own day first', () => {
  const asked = { zone: 'UTC', anchor: '2027-06-10T00:00:00Z' }
  const found = occurrences({ ...at(9), interval: 7 }, '2027-06-09T23:59:59Z', asked)
  expect(found[0]).toBe('2027-06-10T09:00Z')
})

const zones = [
  'Europe/Berlin',
  'America/New_York',
  'Australia/Lord_Howe',
  'America/Santiago',
  'UTC',
]
const moments = fc.integer({
  min: Date.parse('2020-01-01T00:00:00Z'),
  max: Date.parse('2040-01-01T00:00:00Z'),
})
const rules = fc.record({
  frequency: fc.constantFrom('hourly', 'daily', 'weekly', 'monthly'),
  interval: fc.integer({ min: 1, max: 40 }),
  days: fc.constantFrom(null, 'weekdays', 'weekends', ['mon'], ['tue', 'sat']),
  hours: fc.integer({ min: 0, max: 23 }),
  minutes: fc.integer({ min: 0, max: 11 }).map((step) => step * 5),
  day_of_month: fc.integer({ min: 1, max: 31 }),
})

test('every rule goes on: its occurrences follow each other, and none lies between two of them', () => {
  const property = fc.property(
    rules,
    moments,
    moments,
    fc.constantFrom(...zones),
    (given, start, from, timeZone) => {
      const rule = parseRepeatRule(given)!
      const place = { timeZone, anchor: new Date(start) }
      const first = nextRepeat(rule, new Date(from), place)
      if (!first) return
      expect(first.getTime()).toBeGreaterThan(from)
      const between = new Date(Math.floor((from + first.getTime()) / 2))
      expect(nextRepeat(rule, between, place)).toEqual(first)
      expect(nextRepeat(rule, new Date(first.getTime() - 1), place)).toEqual(first)
      const second = nextRepeat(rule, first, place)
      expect(second!.getTime()).toBeGreaterThan(first.getTime())
      const each = { ...rule, interval: 1 }
      const begun = { timeZone, anchor: new Date(Math.min(start, from)) }
      const every = nextRepeat(each, new Date(from), begun)
      expect(nextOccurrence(rule, new Date(from), timeZone)).toEqual(every)
    },
  )
  fc.assert(property, { numRuns: 300 })
})

test.each([
  null,
  { frequency: 'daily', interval: 0 },
  { frequency: 'daily', interval: 1001 },
  { frequency: 'daily', interval: 1.5 },
  { frequency: 'daily', hours: 25 },
])('%j is no rule', (value) => {
  expect(parseRepeatRule(value)).toBeUndefined()
})
