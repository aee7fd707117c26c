import { expect, test } from 'vitest'
import type { StepRef } from '../../src/ids.ts'
import { push } from '../../src/steps/push.ts'
import { aContext } from './context.ts'

const step = { ref: 'one' as StepRef, title: ' Hi ', body: 'There' }

test('each device gets a message of its own', () => {
  const subscription = { endpoint: 'https://push.example.com/1', keys: { p256dh: 'a', auth: 'b' } }
  const addresses = [
    { token: 'one', locale: null, timezone: null },
    { token: subscription.endpoint, subscription },
  ]
  const data = { page: 7 }
  const outcome = push.execute({ ...step, data, expires_after: '1h' }, aContext({ addresses }))
  const shown = { type: 'push', title: 'Hi', body: 'There', data, silent: false }
  expect(outcome).toEqual({
    kind: 'message',
    content: { ...shown, token: 'one' },
    also: [{ ...shown, token: 'https://push.example.com/1', subscription }],
    expiresAt: new Date('2026-03-01T13:00:00Z'),
  })
})

test('without a device there is no message', () => {
  expect(push.execute(step, aContext())).toEqual({ kind: 'skip', reason: 'recipient_data_missing' })
})
