import { expect, test } from 'vitest'
import type { StepRef } from '../../src/ids.ts'
import { webhook } from '../../src/steps/webhook.ts'
import { aContext } from './context.ts'

const ref = 'hook' as StepRef
const url = 'https://hooks.example.com/a'

test('posts nothing but the call itself where it says no more', () => {
  expect(webhook.execute({ ref, url }, aContext())).toEqual({
    kind: 'message',
    content: {
      type: 'webhook',
      method: 'POST',
      url,
      headers: {},
      query: {},
      body: null,
      secrets: {},
    },
  })
})

test('keeps the shape of its body', () => {
  const body = { list: ['{{data.a}}', 1], none: null }
  const step = { ref, url, method: 'PUT', headers: { A: 'b' }, query: { c: 'd' }, body } as const
  expect(webhook.execute(step, aContext())).toMatchObject({
    content: { method: 'PUT', headers: { A: 'b' }, query: { c: 'd' }, body },
  })
})

test('lets secrets stand in every part that is sent', () => {
  const step = {
    ref,
    url,
    headers: { A: 'b' },
    query: { c: 'd' },
    body: { e: ['f', { file: 'g' }] },
  }
  const fields = webhook.templates(step)
  expect(fields.every(({ secrets }) => secrets)).toBe(true)
  expect(fields.map(({ path }) => path.join('.'))).toEqual([
    'url',
    'headers.A',
    'query.c',
    'body.e.0',
    'body.e.1.file',
  ])
})

test.each(['Host', 'Idempotency-Key', 'webhook-signature'])(
  'does not set the header %s',
  (name) => {
    expect(webhook.check?.({ ref, url, headers: { [name]: 'x' } })).toMatchObject([
      { code: 'reserved_header', path: ['headers', name] },
    ])
  },
)
