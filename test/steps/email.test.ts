import { describe, expect, test } from 'vitest'
import { TerminalFailure } from '../../src/errors.ts'
import type { StepRef } from '../../src/ids.ts'
import { email, layoutOf, type Email } from '../../src/steps/email.ts'
import type { EmailContent, StepContext } from '../../src/steps/step.ts'
import { aContext, withData } from './context.ts'

const aStep = (fields: Partial<Email> = {}) => ({
  ref: 'email' as StepRef,
  subject: ' Hello ',
  html: '<p>Hi</p>',
  ...fields,
})

function sent(fields: Partial<Email> = {}, context: StepContext = aContext()): EmailContent {
  const outcome = email.execute(aStep(fields), context)
  if (outcome.kind !== 'message' || outcome.content.type !== 'email') throw new Error(outcome.kind)
  return outcome.content
}

describe('where an e-mail goes', () => {
  test("to the recipient's own address", () => {
    expect(sent().to).toBe('ann@example.com')
  })

  test('to the address that the step names', () => {
    expect(sent({ to: ' ben@example.com\n' }).to).toBe('ben@example.com')
  })

  test.each([
    ['has none', {}],
    ['has an empty one', { email: '  ' }],
    ['has something else there', { email: ['a@example.com'] }],
  ])('nowhere if the recipient %s', (_, recipient) => {
    const context = aContext()
    const outcome = email.execute(aStep(), { ...context, scope: { ...context.scope, recipient } })
    expect(outcome).toEqual({ kind: 'skip', reason: 'recipient_data_missing' })
  })

  test('copies are never split, and empty ones left out', () => {
    const content = sent({ cc: ['a@example.com, b@example.com', ' '], bcc: 'c@example.com' })
    expect(content.cc).toEqual(['a@example.com, b@example.com'])
    expect(content.bcc).toEqual(['c@example.com'])
  })
})

describe('what an e-mail says', () => {
  test('a subject without space around it, and a text made from the HTML', () => {
    expect(sent()).toMatchObject({ subject: 'Hello', html: '<p>Hi</p>' })
    expect(sent().text.trim()).toBe('Hi')
  })

  test('the text that the step gives', () => {
    expect(sent({ text: 'Plain' }).text).toBe('Plain')
  })

  test('markdown as HTML inside the layout', () => {
    const { html: _, ...step } = aStep({ markdown: '**Hi**', layout: 'brand' })
    const outcome = email.execute(step, aContext())
    expect(outcome).toMatchObject({ kind: 'message' })
    expect(JSON.stringify(outcome)).toMatch(/<brand><p>.*Hi.*<\/p>\\?n?<\/brand>/)
  })

  test('a preheader first in the body, escaped and hidden', () => {
    const { html, text } = sent({ html: '<html><body class="a">Hi', preheader: 'a < b' })
    expect(html).toMatch(/<body class="a"><div style="display:none[^"]*">a &#60; b<\/div>Hi/)
    expect(text).not.toContain('a <')
  })

  test('no sender unless it names one: the channel has its own', () => {
    expect(sent()).toMatchObject({ from: null, reply_to: null })
    expect(sent({ from: 'X <x@example.com>' }).from).toBe('X <x@example.com>')
  })

  test('its headers', () => {
    expect(sent({ headers: { 'X-Thread': 'one' } }).headers).toEqual({ 'X-Thread': 'one' })
  })
})

describe('the layout', () => {
  test('is the default one where there is one', () => {
    expect(layoutOf({}, () => true)).toBe('default')
    expect(layoutOf({}, () => false)).toBeUndefined()
  })

  test('is none if the step says so', () => {
    expect(layoutOf({ layout: 'none' }, () => true)).toBeUndefined()
  })

  test('is the one that the step names', () => {
    expect(layoutOf({ layout: 'brand' }, () => false)).toBe('brand')
  })
})

describe('attachments', () => {
  const file = { name: 'a.txt', content_type: 'text/plain', content: 'aGk=' }

  test('come from the data', () => {
    const content = sent({ attachments: 'data.files' }, withData({ files: [file] }))
    expect(content.attachments).toEqual([file])
  })

  test('are none where the data has none', () => {
    expect(sent({ attachments: 'data.files' }).attachments).toEqual([])
  })

  test.each([['a text'], [[1]], [[{ name: 'a.txt' }]], [[null]]])(
    'fail the step if %j',
    (files) => {
      const context = withData({ files })
      expect(() => sent({ attachments: 'data.files' }, context)).toThrow(TerminalFailure)
    },
  )
})

test('an e-mail can expire', () => {
  expect(email.execute(aStep({ expires_after: '15m' }), aContext())).toMatchObject({
    expiresAt: new Date('2026-03-01T12:15:00Z'),
  })
})

test.each(['Bcc', 'content-type', 'DKIM-Signature'])('the header %s is not for a step', (name) => {
  expect(email.check?.(aStep({ headers: { [name]: 'x' } }))).toMatchObject([
    { code: 'reserved_header', path: ['headers', name] },
  ])
})

describe('an e-mail is refused for good', () => {
  test.each([
    ['elements are nested too deeply', { html: '<div>'.repeat(20_000) }],
    ['HTML with more than 1 MB', { html: '<p>'.repeat(2 ** 19) }],
    ['the Markdown has 3072 kB', { html: undefined, markdown: '['.repeat(3 * 2 ** 20) }],
  ])('where a part of it cannot be made: %s', (reason, given) => {
    expect(() => sent(given as Partial<Email>)).toThrow(TerminalFailure)
    expect(() => sent(given as Partial<Email>)).toThrow(reason)
  })

  test('but not where it brings its own text', () => {
    expect(sent({ html: '<div>'.repeat(20_000), text: 'Hi' }).text).toBe('Hi')
  })
})
