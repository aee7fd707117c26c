import { Ajv2020 } from 'ajv/dist/2020.js'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  addDuration,
  durationSchema,
  isTimeZone,
  parseDuration,
  signedDurationSchema,
  type DurationUnit,
} from '../../src/language/durations.ts'

const ajv = new Ajv2020({ strict: true, strictRequired: false, allowUnionTypes: true })

/** Minus nothing is refused too, so that one look at the text is enough. */
function isPositive(duration: unknown): boolean {
  if (typeof duration === 'string') return !duration.startsWith('-')
  return (duration as { readonly value: number }).value >= 0
}

function later(at: string, duration: string, timeZone = 'Europe/Berlin'): string {
  return addDuration(new Date(at), duration, timeZone).toISOString()
}

describe('parseDuration', () => {
  test.each([
    ['30s', 'seconds', 30],
    ['15m', 'minutes', 15],
    ['2h', 'hours', 2],
    ['1d', 'days', 1],
    ['1w', 'weeks', 1],
    ['1mo', 'months', 1],
    ['-2h', 'hours', -2],
  ])('reads %s', (text, unit, value) => {
    expect(parseDuration(text)).toEqual({ unit, value })
    expect(parseDuration({ unit, value })).toEqual({ unit, value })
  })

  test.each(['', '15', 'm', '1.5h', '15 m', '1y', '999999999s', '2027-01-01', 15, null, []])(
    'refuses %j',
    (value) => {
      expect(parseDuration(value)).toBeUndefined()
    },
  )

  test('refuses a unit or a number that is none', () => {
    expect(parseDuration({ unit: 'years', value: 1 })).toBeUndefined()
    expect(parseDuration({ unit: 'toString', value: 1 })).toBeUndefined()
    expect(parseDuration({ unit: 'days', value: 1.5 })).toBeUndefined()
    expect(parseDuration({ unit: 'days', value: '1' })).toBeUndefined()
  })

  test('takes what the schema takes, and nothing else', () => {
    const signed = ajv.compile(signedDurationSchema)
    const unsigned = ajv.compile(durationSchema)
    const value = fc.oneof(
      fc.stringMatching(/^-?\d{1,9}(s|m|h|d|w|mo|y)$/),
      fc.record({
        unit: fc.constantFrom('seconds', 'minutes', 'months', 'years'),
        value: fc.oneof(fc.integer(), fc.double()),
      }),
      fc.jsonValue(),
    )
    fc.assert(
      fc.property(value, (one) => {
        const parsed = parseDuration(one)
        expect(signed(one)).toBe(parsed !== undefined)
        expect(unsigned(one)).toBe(parsed !== undefined && isPositive(one))
      }),
    )
  })
})

describe('addDuration', () => {
  test('a day is 24 hours, also where the clocks change', () => {
    expect(later('2027-03-27T12:00:00Z', '1d')).toBe('2027-03-28T12:00:00.000Z')
  })

  test('a month keeps the time on the wall where the clocks change', () => {
    expect(later('2027-03-01T12:00:00Z', '1mo')).toBe('2027-04-01T11:00:00.000Z')
  })

  test('a month ends on its last day where it has no such day', () => {
    expect(later('2027-01-31T12:00:00Z', '1mo')).toBe('2027-02-28T12:00:00.000Z')
    expect(later('2028-01-31T12:00:00Z', '1mo')).toBe('2028-02-29T12:00:00.000Z')
  })

  test('the month is that of the given zone', () => {
    expect(later('2027-01-31T23:30:00Z', '1mo', 'Europe/Berlin')).toBe('2027-02-28T23:30:00.000Z')
    expect(later('2027-01-31T23:30:00Z', '1mo', 'Etc/UTC')).toBe('2027-02-28T23:30:00.000Z')
    expect(later('2027-03-30T23:30:00Z', '-1mo', 'Asia/Tokyo')).toBe('2027-02-27T23:30:00.000Z')
  })

  test('a month that ends in the hour that the clocks skip ends after it', () => {
    expect(later('2027-02-28T01:30:00Z', '1mo')).toBe('2027-03-28T01:30:00.000Z')
  })

  test('a negative duration leads back', () => {
    expect(later('2027-03-01T12:00:00Z', '-2h')).toBe('2027-03-01T10:00:00.000Z')
    expect(later('2027-03-31T12:00:00Z', '-1mo')).toBe('2027-02-28T13:00:00.000Z')
  })

  test('a moment beyond all dates is the last date', () => {
    expect(addDuration(new Date(0), '99999999w', 'Etc/UTC').getTime()).toBe(8.64e15)
    expect(addDuration(new Date(0), '-99999999mo', 'Etc/UTC').getTime()).toBe(-8.64e15)
  })

  test('refuses a text that is no duration, and an unknown zone', () => {
    expect(() => later('2027-03-01T12:00:00Z', 'soon')).toThrow(RangeError)
    expect(() => later('2027-03-01T12:00:00Z', '1mo', 'Mars/Phobos')).toThrow(RangeError)
  })

  test('there and back is the same moment, months aside', () => {
    const units: readonly DurationUnit[] = ['seconds', 'minutes', 'hours', 'days', 'weeks']
    fc.assert(
      fc.property(
        fc.date({ min: new Date(0), max: new Date('2100-01-01'), noInvalidDate: true }),
        fc.constantFrom(...units),
        fc.integer({ min: -1000, max: 1000 }),
        (at, unit, value) => {
          const there = addDuration(at, { unit, value }, 'Europe/Berlin')
          const back = addDuration(there, { unit, value: -value }, 'Europe/Berlin')
          expect(back.getTime()).toBe(at.getTime())
        },
      ),
    )
  })
})

test('a time zone is an IANA name, not an offset', () => {
  for (const zone of ['Europe/Berlin', 'UTC', 'Etc/UTC', 'America/Argentina/Ushuaia']) {
    expect(isTimeZone(zone)).toBe(true)
  }
  for (const zone of ['', '+02:00', 'Mars/Phobos', 'Europe/', 'a'.repeat(100)]) {
    expect(isTimeZone(zone)).toBe(false)
  }
})
