import { expect, test } from 'vitest'
import type { StepRef } from '../../src/ids.ts'
import { fetch, placeOf } from '../../src/steps/fetch.ts'
import { aContext } from './context.ts'

const ref = 'crm' as StepRef
const url = 'https://crm.example.com/a'

test('gets what is there where it says no more', () => {
  expect(fetch.execute({ ref, url }, aContext())).toEqual({
    kind: 'fetch',
    request: {
      method: 'GET',
      url,
      headers: {},
      query: {},
      body: null,
      secrets: {},
      signWith: null,
    },
  })
})

test('keeps the shape of its body, and names the variable of its signature', () => {
  const body = { list: ['{{data.a}}', 1], none: null }
  const step = { ref, url, method: 'PUT', headers: { A: 'b' }, query: { c: 'd' }, body } as const
  expect(fetch.execute({ ...step, sign_with: 'vars.key' }, aContext())).toMatchObject({
    request: { method: 'PUT', headers: { A: 'b' }, query: { c: 'd' }, body, signWith: 'key' },
  })
})

test('lets secrets stand in every part that is sent, and in its signature', () => {
  const step = { ref, url, headers: { A: 'b' }, query: { c: 'd' }, body: { e: ['f'] } }
  const fields = fetch.templates(step)
  expect(fields.every(({ secrets }) => secrets)).toBe(true)
  expect(fields.map(({ path }) => path.join('.'))).toEqual([
    'url',
    'headers.A',
    'query.c',
    'body.e.0',
  ])
  expect(fetch.paths?.(step)).toEqual([])
  expect(fetch.paths?.({ ...step, sign_with: 'vars.key' })).toEqual([
    { path: ['sign_with'], value: 'vars.key', secrets: true, required: true },
  ])
})

test.each(['Host', 'Idempotency-Key', 'webhook-signature'])(
  'does not set the header %s',
  (name) => {
    expect(fetch.check?.({ ref, url, headers: { [name]: 'x' } })).toMatchObject([
      { code: 'reserved_header', path: ['headers', name] },
    ])
  },
)

test('has a body only with a method that sends one', () => {
  const step = { ref, url, body: {} }
  expect(fetch.check?.(step)).toMatchObject([{ code: 'body_of_get', path: ['body'] }])
  expect(fetch.check?.({ ...step, method: 'GET' })).toHaveLength(1)
  expect(fetch.check?.({ ...step, method: 'POST' })).toEqual([])
})

test('puts its answer into data, whether that is written out or not', () => {
  expect(placeOf({})).toBeNull()
  expect(placeOf({ into: 'a.b' })).toEqual(['a', 'b'])
  expect(placeOf({ into: 'data.a.b' })).toEqual(['a', 'b'])
  expect(placeOf({ into: 'database' })).toEqual(['database'])
})
