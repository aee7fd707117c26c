import { expect, test } from 'vitest'
import type { StepRef } from '../../src/ids.ts'
import { inApp } from '../../src/steps/in-app.ts'
import { aContext } from './context.ts'

const ref = 'feed' as StepRef

test('puts its body into the feed, as written and as HTML', () => {
  const outcome = inApp.execute({ ref, body: 'Hi **you**' }, aContext())
  expect(outcome).toMatchObject({
    kind: 'message',
    content: { type: 'in_app', body: { content: 'Hi **you**' }, action_url: null, buttons: [] },
  })
  expect(JSON.stringify(outcome)).toMatch(/"rendered":"<p>/)
})

test('renders links as URLs, and what buttons say as a line', () => {
  const kinds: string[] = []
  const context = aContext({
    render: (template, kind) => {
      kinds.push(`${JSON.stringify(template)}: ${kind}`)
      return 'x'
    },
  })
  const step = { ref, body: 'b', action_url: 'u', buttons: [{ label: 'l', action: 'a' }] }
  expect(inApp.execute(step, context)).toMatchObject({
    content: { action_url: 'x', buttons: [{ label: 'x', action: 'x' }] },
  })
  expect(kinds.toSorted()).toEqual(['"a": url', '"b": markdown', '"l": line', '"u": url'])
})
