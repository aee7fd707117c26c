import { describe, expect, test } from 'vitest'
import type { StepRef } from '../../src/ids.ts'
import { throttle, type Throttle } from '../../src/steps/throttle.ts'
import { aContext, withData } from './context.ts'

const ref = 'calm' as StepRef
const run = (step: Throttle, data: Readonly<Record<string, unknown>> = {}) =>
  throttle.execute({ ref, ...step }, withData(data))

describe('a throttle', () => {
  test('asks its gate, with a limit of one where it says none', () => {
    const until = new Date('2026-03-01T13:00:00Z')
    expect(run({ window: '1h' })).toEqual({ kind: 'throttle', key: '', limit: 1, until })
    expect(run({ window: '1h', limit: 7 })).toMatchObject({ limit: 7 })
  })

  test.each([
    ['a text', 'page 1', 'page 1'],
    ['a number', 42, '42'],
    ['a boolean', false, 'false'],
  ])('counts apart by %s', (_, page, key) => {
    expect(run({ window: '1h', key: 'data.page' }, { page })).toMatchObject({ key })
  })

  test.each([
    ['nothing', undefined],
    ['null', null],
    ['an empty text', ''],
    ['a list', ['a']],
    ['an object', {}],
    ['a text that is too long', 'x'.repeat(256)],
  ])('is skipped where its key is %s', (_, page) => {
    expect(run({ window: '1h', key: 'data.page' }, { page })).toMatchObject({
      kind: 'skip',
      reason: 'invalid_key',
      events: [{ event: 'key_invalid', status: 'error', data: { key: 'data.page' } }],
    })
  })

  test.each([
    ['a duration', '2h', '2026-03-01T14:00:00.000Z'],
    ['a unit and value', { unit: 'days', value: 1 }, '2026-03-02T12:00:00.000Z'],
    ['a time', '2026-03-01T12:00:01Z', '2026-03-01T12:00:01.000Z'],
  ])('takes its window from data: %s', (_, window, until) => {
    expect(run({ window: 'data.window' }, { window })).toMatchObject({ until: new Date(until) })
  })

  test.each([
    ['is missing', undefined, 'invalid_window', 'window_invalid'],
    ['is none', 'soon', 'invalid_window', 'window_invalid'],
    ['is too long', '366d', 'invalid_window', 'window_invalid'],
    ['is nothing', '0s', 'past_window', 'window_past'],
    ['is negative', '-1h', 'past_window', 'window_past'],
    ['is over', '2026-03-01T12:00:00Z', 'past_window', 'window_past'],
  ])('is skipped where its window %s', (_, window, reason, event) => {
    const outcome = run({ window: 'data.window' }, { window })
    expect(outcome).toMatchObject({ kind: 'skip', reason, events: [{ event, status: 'error' }] })
  })

  test('counts months in the zone of the recipient', () => {
    const context = aContext({ now: new Date('2026-03-15T12:00:00Z') })
    const outcome = throttle.execute({ ref, window: '1mo' }, context)
    expect(outcome).toMatchObject({ until: new Date('2026-04-15T11:00:00Z') })
  })

  test.each(['0s', '366d', '13mo'])('cannot have the window %s', (window) => {
    expect(throttle.check?.({ ref, window })).toMatchObject([
      { path: ['window'], code: 'invalid_value' },
    ])
  })

  test.each(['1s', '365d', 'data.window'])('can have the window %s', (window) => {
    expect(throttle.check?.({ ref, window })).toEqual([])
  })

  test('names the paths that it reads', () => {
    expect(throttle.paths?.({ ref, window: 'vars.window', key: 'data.a' })).toEqual([
      { path: ['key'], value: 'data.a' },
      { path: ['window'], value: 'vars.window' },
    ])
  })
})
