import { expect, test } from 'vitest'
import { scrubExchange, scrubText, storableText } from '../../src/channels/exchange.ts'
import { secretNames, withSecrets } from '../../src/channels/secret.ts'

const secret = 'pa"ss wörd/42'

test('a secret is masked by value in every usual encoding', () => {
  const base64 = Buffer.from(secret).toString('base64')
  const exchange = scrubExchange(
    {
      request: {
        method: 'POST',
        host: 'example.com',
        path: `/hook?key=${encodeURIComponent(secret)}`,
        headers: { 'x-note': `is ${secret}`, authorization: 'Bearer other' },
        body: { deep: [{ value: secret }] },
      },
      response: { status: 500, headers: { 'set-cookie': 'a=b' }, body: `echo ${secret} ${base64}` },
    },
    [secret],
  )
  const text = JSON.stringify(exchange)
  for (const form of [
    secret,
    JSON.stringify(secret).slice(1, -1),
    encodeURIComponent(secret),
    base64,
  ]) {
    expect(text).not.toContain(form)
  }
  expect(text).not.toMatch(/Bearer other|a=b/)
  expect(exchange.request.body).toEqual({ deep: [{ value: '•••' }] })
})

test('what Postgres refuses is replaced, and what is long is cut', () => {
  expect(storableText('a\0b\ud800c')).toBe('a\uFFFDb\uFFFDc')
  const exchange = scrubExchange(
    {
      request: {
        method: 'POST',
        host: '',
        path: '',
        headers: {},
        body: { a: 'x\0y', b: '\ud83d' },
      },
      response: { status: 500, headers: {}, body: 'x'.repeat(5_000_000) },
    },
    [],
  )
  expect(exchange.request.body).toEqual({ a: 'x\uFFFDy', b: '\uFFFD' })
  expect(String(exchange.response?.body).length).toBeLessThan(9_000)
})

test('a cut never lets half a secret through', () => {
  const text = `${'x'.repeat(8 * 1024 - 3)}${secret}`
  expect(scrubText(text, [secret])).not.toContain('pa"')
})

test('references to secrets are found and replaced at any depth', () => {
  const settings = { a: { secret: 'ONE' }, b: [{ c: { secret: 'TWO' } }], d: 'plain' }
  expect(secretNames(settings)).toEqual(['ONE', 'TWO'])
  expect(withSecrets(settings, (name) => name.toLowerCase())).toEqual({
    a: 'one',
    b: [{ c: 'two' }],
    d: 'plain',
  })
})
