import { describe, expect, test } from 'vitest'
import { batch, batchView, extensionEnd, type Batch } from '../../src/steps/batch.ts'
import type { StepBase } from '../../src/steps/step.ts'
import type { StepRef } from '../../src/ids.ts'
import { withData } from './context.ts'

const aStep = (fields: Partial<Batch>): StepBase & Batch => ({
  ref: 'digest' as StepRef,
  window: '10m',
  ...fields,
})

const execute = (fields: Partial<Batch>, data: Record<string, unknown> = {}) =>
  batch.execute(aStep(fields), withData(data))

describe('the key of a batch', () => {
  test.each([
    [{}, ''],
    [{ key: 'data.page' }, '7'],
    [{ key: 'page' }, '7'],
    [{ key: 'data.isNew' }, 'false'],
    [{ key: '{{data.page}}-x' }, '{{data.page}}-x'],
    [{ key: 'data.gone' }, null],
    [{ key: 'data.empty' }, null],
    [{ key: 'data.list' }, null],
  ])('%j is %j', (fields, key) => {
    const data = { page: 7, isNew: false, empty: '', list: [1] }
    const outcome = execute(fields, data)
    expect(outcome).toMatchObject({ kind: 'batch', key })
    const events = (outcome.kind === 'batch' && outcome.events) || []
    expect(events.map(({ event }) => event)).toEqual(key === null ? ['key_missing'] : [])
  })

  test('that is long is told apart by its hash', () => {
    const keys = ['x', 'y'].map((end) => {
      const outcome = execute({ key: 'page' }, { page: 'x'.repeat(300) + end })
      return outcome.kind === 'batch' ? outcome.key : null
    })
    expect(keys[0]).toMatch(/^sha256:[0-9a-f]{64}$/)
    expect(keys[0]).not.toBe(keys[1])
  })
})

describe('the window of a batch', () => {
  test.each([
    ['10m', '2026-03-01T12:10:00.000Z'],
    ['data.duration', '2026-03-01T14:00:00.000Z'],
    ['data.time', '2026-03-02T00:00:00.000Z'],
    ['data.rule', '2026-03-02T08:00:00.000Z'],
  ])('%s ends at %s', (window, until) => {
    const data = {
      duration: { unit: 'hours', value: 2 },
      time: '2026-03-02',
      rule: { frequency: 'weekly', days: 'weekdays', hours: 9 },
    }
    expect(execute({ window }, data)).toMatchObject({ kind: 'batch', until: new Date(until) })
  })

  test.each([
    ['data.gone', undefined, 'invalid_window'],
    ['data.at', '2026-03-01T11:00:00Z', 'past_window'],
    ['data.at', '2028-03-01T11:00:00Z', 'invalid_window'],
    ['data.at', { frequency: 'daily', hours: 25 }, 'invalid_window'],
  ])('%s of %j skips the step', (window, at, reason) => {
    expect(execute({ window }, { at })).toMatchObject({ kind: 'skip', reason })
  })

  test('that slides is extended up to its limit, and never for more than a year', () => {
    const openedAt = new Date('2026-03-01T12:00:00Z')
    const zone = { timeZone: 'UTC' }
    expect(extensionEnd(openedAt, { ...zone, extensionLimit: '1mo' }).toISOString()).toBe(
      '2026-04-01T12:00:00.000Z',
    )
    expect(extensionEnd(openedAt, { ...zone, extensionLimit: null }).toISOString()).toBe(
      '2027-03-01T12:00:00.000Z',
    )
    const sliding = { window_type: 'sliding', extension_limit: '1h' } as const
    expect(execute(sliding)).toMatchObject({ extensionLimit: '1h' })
    expect(execute({})).toMatchObject({ extensionLimit: null })
  })
})

test.each([
  [{}, []],
  [{ window: '0s' }, ['window invalid_value']],
  [{ window: '400d' }, ['window invalid_value']],
  [{ window_type: 'sliding' }, ['window_type missing_key']],
  [{ extension_limit: '1h' }, ['extension_limit invalid_value']],
  [{ window_type: 'sliding', extension_limit: '0m' }, ['extension_limit invalid_value']],
  [{ window_type: 'sliding', extension_limit: '1h' }, []],
] as const)('%j has the problems %j', (fields, problems) => {
  const found = batch.check?.(aStep(fields)) ?? []
  expect(found.map(({ path, code }) => `${path.join('.')} ${code}`)).toEqual(problems)
})

test('ten of the oldest are shown, or as the step says', () => {
  expect(batchView(aStep({}))).toEqual({ limit: 10, newest: false })
  expect(batchView(aStep({ order: 'desc', render_limit: 3 }))).toEqual({ limit: 3, newest: true })
})

test('its parts are known to the checks of the file', () => {
  const named = aStep({ key: 'page', window: 'data.until' })
  expect(batch.paths?.(named)).toEqual([
    { path: ['key'], value: 'data.page' },
    { path: ['window'], value: 'data.until' },
  ])
  expect(batch.templates(aStep({ key: '{{data.a}}' }))).toHaveLength(1)
  expect(batch.paths?.(aStep({ key: '{{data.a}}' }))).toEqual([])
})
