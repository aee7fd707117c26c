import { expect, test } from 'vitest'
import { sms } from '../../src/steps/sms.ts'
import type { StepRef } from '../../src/ids.ts'
import { aContext } from './context.ts'

const ref = 'one' as StepRef

test('a text message goes to the recipient, or where the step says', () => {
  const context = aContext()
  const recipient = { id: 'ann', phone_number: ' +15550100 ' }
  const known = { ...context, scope: { ...context.scope, recipient } }
  expect(sms.execute({ ref, body: 'Hi' }, known)).toEqual({
    kind: 'message',
    content: { type: 'sms', to: '+15550100', body: 'Hi' },
  })
  expect(sms.execute({ ref, body: 'Hi', to: '+15550199', expires_after: '10m' }, known)).toEqual({
    kind: 'message',
    content: { type: 'sms', to: '+15550199', body: 'Hi' },
    expiresAt: new Date('2026-03-01T12:10:00Z'),
  })
})

test('without a number there is no message', () => {
  const skipped = { kind: 'skip', reason: 'recipient_data_missing' }
  expect(sms.execute({ ref, body: 'Hi' }, aContext())).toEqual(skipped)
  expect(sms.execute({ ref, body: 'Hi', to: ' ' }, aContext())).toEqual(skipped)
})
