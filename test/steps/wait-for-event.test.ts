import { describe, expect, test } from 'vitest'
import type { StepRef } from '../../src/ids.ts'
import { waitForEvent, type WaitForEvent } from '../../src/steps/wait-for-event.ts'
import { aContext } from './context.ts'

const { match } = waitForEvent.example
const step = { ref: 'wait' as StepRef, event: 'message.read', match } as const

test('a wait for an event of a source goes by both names, and needs no conditions', () => {
  const waits = { ref: 'wait' as StepRef, event: 'Signed Up', source: 'segment' }
  expect(waitForEvent.execute(waits, aContext())).toMatchObject({
    kind: 'await',
    event: 'source:segment:Signed Up',
  })
  expect(waitForEvent.check?.(waits)).toEqual([])
  const plain = { ref: waits.ref, event: waits.event }
  expect(waitForEvent.check?.(plain)?.map(({ path }) => path)).toEqual([['event'], []])
})

describe('a wait for an event', () => {
  test.each([
    [undefined, '2026-03-01T12:15:00.000Z'],
    ['1d', '2026-03-02T12:00:00.000Z'],
    ['1mo', '2026-04-01T11:00:00.000Z'],
  ])('of %s ends at %s', (after, until) => {
    const fields: WaitForEvent = { ...step, ...(after !== undefined && { expires_after: after }) }
    expect(waitForEvent.execute({ ...step, ...fields }, aContext())).toEqual({
      kind: 'await',
      event: 'message.read',
      until: new Date(until),
    })
  })

  test.each([
    [true, {}, { kind: 'next' }],
    [true, { on_match: 'halt' }, { kind: 'cancel', reason: 'event_matched' }],
    [false, {}, { kind: 'cancel', reason: 'wait_expired' }],
    [false, { on_timeout: 'continue' }, { kind: 'next' }],
    [true, { on_match: 'continue', on_timeout: 'halt' }, { kind: 'next' }],
  ] as const)('that matched: %s, with %j, comes to %j', (matched, fields, outcome) => {
    const context = aContext({ waited: true, matched })
    expect(waitForEvent.execute({ ...step, ...fields }, context)).toEqual(outcome)
  })

  test.each([
    [{ match: undefined }, 'missing_key'],
    [{ expires_after: '366d' }, 'invalid_value'],
    [{ expires_after: '0s' }, 'invalid_value'],
  ])('with %j is refused', (fields, code) => {
    const wrong = { ...step, ...fields } as unknown as typeof step
    expect(waitForEvent.check?.(wrong).map((problem) => problem.code)).toEqual([code])
  })

  test('has its conditions checked where they stand', () => {
    expect(waitForEvent.conditions?.(step)).toEqual([{ path: ['match'], conditions: match }])
  })
})
