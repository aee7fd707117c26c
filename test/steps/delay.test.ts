import { describe, expect, test } from 'vitest'
import type { StepRef } from '../../src/ids.ts'
import { delay, type Delay } from '../../src/steps/delay.ts'
import { aContext, withData } from './context.ts'

const ref = 'pause' as StepRef
const at = (data: unknown, fields: Delay = { until: 'data.at' }) =>
  delay.execute({ ref, ...fields }, withData({ at: data }))

test('holds the run for a while', () => {
  expect(delay.execute({ ref, for: '2h' }, aContext())).toEqual({
    kind: 'wait',
    until: new Date('2026-03-01T14:00:00Z'),
    reason: 'delay',
  })
})

test('goes on once it has waited', () => {
  expect(delay.execute({ ref, for: '2h' }, aContext({ waited: true }))).toEqual({ kind: 'next' })
})

test('is passed over where the trigger says so', () => {
  expect(delay.execute({ ref, for: '2h' }, aContext({ skipDelay: true }))).toEqual({
    kind: 'skip',
    reason: 'delay_skipped',
  })
})

describe('until a time of the data', () => {
  test.each([
    ['2026-03-02T12:00:00Z', '2026-03-02T12:00:00.000Z'],
    ['2026-03-02T12:00:00+02:00', '2026-03-02T10:00:00.000Z'],
    [{ unit: 'days', value: 2 }, '2026-03-03T12:00:00.000Z'],
    ['3h', '2026-03-01T15:00:00.000Z'],
  ])('%j waits until %s', (value, until) => {
    expect(at(value)).toMatchObject({ kind: 'wait', until: new Date(until) })
  })

  test('can be shifted, back as well', () => {
    expect(at('2026-03-02T12:00:00Z', { until: 'data.at', for: '-1h' })).toMatchObject({
      until: new Date('2026-03-02T11:00:00Z'),
    })
  })

  test('that is over skips the step', () => {
    const skipped = { kind: 'skip', reason: 'past_window' }
    expect(at('2026-03-01T12:00:00Z')).toMatchObject(skipped)
    expect(at('2026-03-01T12:30:00Z', { until: 'data.at', for: '-1h' })).toMatchObject(skipped)
  })

  test.each([undefined, null, 'tomorrow', '2026-13-45T12:00:00Z', 7, true, {}, []])(
    'that is %j skips the step',
    (value) => {
      expect(at(value)).toMatchObject({ kind: 'skip', reason: 'invalid_window' })
    },
  )

  test('more than a year ahead skips the step', () => {
    expect(at('2027-03-01T12:00:00Z')).toMatchObject({ kind: 'wait' })
    expect(at('2027-03-01T12:00:01Z')).toMatchObject({ kind: 'skip', reason: 'invalid_window' })
  })
})

test.each<[Delay, string | undefined]>([
  [{}, 'missing_key'],
  [{ for: '366d' }, 'invalid_value'],
  [{ for: '-1h' }, 'invalid_value'],
  [{ for: '-1h', until: 'data.at' }, undefined],
  [{ for: '365d' }, undefined],
  [{ until: 'data.at' }, undefined],
])('the file %j is checked: %s', (fields, code) => {
  expect(delay.check?.({ ref, ...fields }).map((one) => one.code)).toEqual(
    code === undefined ? [] : [code],
  )
})
