import { expect, test } from 'vitest'
import type { StepRef } from '../../src/ids.ts'
import { chat } from '../../src/steps/chat.ts'
import { email } from '../../src/steps/email.ts'
import { push } from '../../src/steps/push.ts'
import { sms } from '../../src/steps/sms.ts'
import { aContext } from './context.ts'

const overrides = { one: { a: '{{data.a}}' }, other: { b: [{ c: '{{data.c}}' }] } }
const base = { ref: 'one' as StepRef, overrides }
const context = aContext({
  addresses: [{ token: 'a' }, { token: 'b' }],
  renderTree: (tree) => JSON.parse(JSON.stringify(tree).replaceAll(/\{\{data\.(.)\}\}/g, '<$1>')),
})
const rendered = { one: { a: '<a>' }, other: { b: [{ c: '<c>' }] } }

const steps = [
  [email, { ...base, subject: 'a', html: 'b', to: 'ann@example.com' }],
  [sms, { ...base, body: 'a', to: '+15550100' }],
  [push, { ...base, title: 'a', body: 'b' }],
  [chat, { ...base, markdown: 'a' }],
] as const

test.each(steps)('what is laid over the request goes with each message of $type', (type, step) => {
  const outcome = type.execute(step as never, context)
  expect(outcome).toMatchObject({ kind: 'message', content: { overrides: rendered } })
  const also = outcome.kind === 'message' ? (outcome.also ?? []) : []
  for (const content of also) expect(content).toMatchObject({ overrides: rendered })
  const fields = type.templates(step as never).filter(({ path }) => path[0] === 'overrides')
  expect(fields).toEqual([
    {
      path: ['overrides', 'one', 'a'],
      template: '{{data.a}}',
      kind: 'text',
      secrets: false,
    },
    {
      path: ['overrides', 'other', 'b', 0, 'c'],
      template: '{{data.c}}',
      kind: 'text',
      secrets: false,
    },
  ])
})
