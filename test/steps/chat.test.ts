import { expect, test } from 'vitest'
import type { StepRef } from '../../src/ids.ts'
import { chat } from '../../src/steps/chat.ts'
import { aContext } from './context.ts'

const ref = 'one' as StepRef

test('each connection gets a message of its own', () => {
  const addresses = [{ channel_id: 'C01' }, { user_id: 'U01' }]
  const outcome = chat.execute(
    { ref, markdown: '**Down**', summary: ' Down ', expires_after: '1h' },
    aContext({ addresses }),
  )
  const shown = { type: 'chat', markdown: '**Down**', blocks: null, summary: 'Down' }
  expect(outcome).toEqual({
    kind: 'message',
    content: { ...shown, connection: { channel_id: 'C01' } },
    also: [{ ...shown, connection: { user_id: 'U01' } }],
    expiresAt: new Date('2026-03-01T13:00:00Z'),
  })
})

test('blocks stand in the place of the text', () => {
  const blocks = [{ type: 'divider' }]
  expect(
    chat.execute({ ref, blocks }, aContext({ addresses: [{ channel_id: 'C01' }] })),
  ).toMatchObject({ content: { markdown: null, blocks, summary: null }, also: [] })
})

test('without a connection there is no message', () => {
  const skipped = { kind: 'skip', reason: 'recipient_data_missing' }
  expect(chat.execute({ ref, markdown: 'Hi' }, aContext())).toEqual(skipped)
})

test('a message says one thing in one way', () => {
  expect(chat.check?.({ ref, markdown: 'a', blocks: [] })).toMatchObject([
    { code: 'conflicting_keys' },
  ])
  expect(chat.check?.({ ref })).toMatchObject([{ code: 'missing_key' }])
  expect(chat.check?.({ ref, markdown: 'a' })).toEqual([])
})
