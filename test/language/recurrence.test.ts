import { describe, expect, test } from 'vitest'
import { nextOccurrence, parseRecurrence } from '../../src/language/recurrence.ts'

const ZONE = 'Europe/Berlin'

function next(rule: object, after: string, zone = ZONE): string | undefined {
  const parsed = parseRecurrence(rule)
  return parsed && nextOccurrence(parsed, new Date(after), zone).toISOString()
}

describe('the next occurrence of a rule', () => {
  test.each([
    [{ frequency: 'hourly', minutes: 15 }, '2027-03-01T09:15:00Z', '2027-03-01T10:15:00.000Z'],
    [{ frequency: 'hourly' }, '2027-03-01T09:00:01Z', '2027-03-01T10:00:00.000Z'],
    [{ frequency: 'hourly', days: ['tue'] }, '2027-03-01T09:00:00Z', '2027-03-01T23:00:00.000Z'],
    [{ frequency: 'daily', hours: 9 }, '2027-03-01T07:59:59Z', '2027-03-01T08:00:00.000Z'],
    [{ frequency: 'daily', hours: 9 }, '2027-03-01T08:00:00Z', '2027-03-02T08:00:00.000Z'],
    [{ frequency: 'daily', hours: 9 }, '2027-07-01T08:00:00Z', '2027-07-02T07:00:00.000Z'],
    [{ frequency: 'daily', days: 'weekdays' }, '2027-03-05T12:00:00Z', '2027-03-07T23:00:00.000Z'],
    [{ frequency: 'weekly', days: 'weekends' }, '2027-03-01T00:00:00Z', '2027-03-05T23:00:00.000Z'],
    [
      { frequency: 'weekly', days: 'wed', hours: 8 },
      '2027-03-01T00:00:00Z',
      '2027-03-03T07:00:00.000Z',
    ],
    [{ frequency: 'weekly' }, '2027-03-02T00:00:00Z', '2027-03-07T23:00:00.000Z'],
    [{ frequency: 'monthly' }, '2027-03-02T00:00:00Z', '2027-03-31T22:00:00.000Z'],
    [
      { frequency: 'monthly', day_of_month: 31 },
      '2027-02-01T00:00:00Z',
      '2027-02-27T23:00:00.000Z',
    ],
  ])('%j after %s is %s', (rule, after, expected) => {
    expect(next(rule, after)).toBe(expected)
  })

  test('at a time that does not exist is that much later, and at one that exists twice the first', () => {
    const rule = { frequency: 'daily', hours: 2, minutes: 30 }
    expect(next(rule, '2027-03-27T12:00:00Z')).toBe('2027-03-28T01:30:00.000Z')
    expect(next(rule, '2027-10-30T12:00:00Z')).toBe('2027-10-31T00:30:00.000Z')
    expect(next(rule, '2027-10-31T00:30:00Z')).toBe('2027-11-01T01:30:00.000Z')
  })

  test('depends on the zone', () => {
    expect(next({ frequency: 'daily' }, '2027-03-01T12:00:00Z', 'Asia/Tokyo')).toBe(
      '2027-03-01T15:00:00.000Z',
    )
  })
})

test.each([
  null,
  'daily',
  {},
  { frequency: 'yearly' },
  { frequency: 'daily', hours: 24 },
  { frequency: 'daily', minutes: 7 },
  { frequency: 'daily', minutes: '5' },
  { frequency: 'weekly', days: [] },
  { frequency: 'weekly', days: ['monday'] },
  { frequency: 'monthly', day_of_month: 0 },
])('%j is no rule', (value) => {
  expect(parseRecurrence(value)).toBeUndefined()
})
