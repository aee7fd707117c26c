import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { createMasker } from '../src/mask.ts'

const secret = 'pä"ss\\w <o>rd\'/+&\n4?2😀'
const json = JSON.stringify(secret).slice(1, -1)
const url = encodeURIComponent(secret)
const base64 = (text: string) => Buffer.from(text).toString('base64')

const forms: Readonly<Record<string, string>> = {
  plain: secret,
  'JSON in JSON': JSON.stringify(JSON.stringify(json)),
  'JSON in ASCII': json.replace(
    /[^ -~]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  ),
  'JSON with escaped slashes and tags': json
    .replaceAll('/', String.raw`\/`)
    .replaceAll('<', String.raw`\u003C`)
    .replaceAll('&', String.raw`\u0026`),
  'a URL': url,
  'a URL in small letters': url.toLowerCase(),
  'a URL in a URL': encodeURIComponent(url),
  'part of a URL': secret.replaceAll(' ', '%20').replaceAll('"', '%22').replaceAll('?', '%3f'),
  'a form': new URLSearchParams({ s: secret }).toString().slice(2),
  HTML: secret
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;'),
  'HTML in numbers': secret.replaceAll(
    /[&<>"'/]/g,
    (mark) => `&#x${mark.charCodeAt(0).toString(16)};`,
  ),
  'another case': secret.toUpperCase().toLowerCase(),
  'a header': Buffer.from(secret).toString('latin1'),
  base64: base64(secret),
  'base64 of a login': base64(`\0user\0${secret}`),
  'base64 in a URL': encodeURIComponent(base64(`x${secret}y`)),
}

for (const [what, form] of Object.entries(forms)) {
  test(`a value is masked as it stands in ${what}`, () => {
    const masker = createMasker([secret], '***')
    const masked = masker.mask(`before ${form} after`)
    expect(masked).toContain('before ')
    expect(masked).toContain(' after')
    // What is left of a base64 text are the neighbours, and the characters that they share.
    expect(masked.length).toBeLessThan(
      'before  after'.length + (what.startsWith('base64') ? 20 : 12),
    )
  })
}

test('a longer value is masked before one that it holds', () => {
  expect(createMasker(['abcd', 'abcdefgh'], '***').mask('abcdefgh abcd')).toBe('*** ***')
})

test('a short value is left alone, and ordinary text too', () => {
  const masker = createMasker(['abc', 'secret.word'], '***')
  expect(masker.mask('abc secret-word secretXword')).toBe('abc secret-word secretXword')
})

const line = (index: number) => createHash('sha512').update(String(index)).digest('base64')

const file = (start: number) =>
  Array.from({ length: 700 }, (_, index) => line(start + index)).join('\n')

test('whole files can be masked, many of them, and in no time', () => {
  const files = [1_000, 2_000, 3_000, 4_000].map(file)
  const masker = createMasker(files, '***')
  expect(masker.mask(files.join(' and '))).toMatch(
    /^(\*{3})+ and (\*{3})+ and (\*{3})+ and (\*{3})+$/,
  )
  const hostile = createMasker(['a\\\\\\\\"b"\\"', '""""""""'], '***')
  const from = performance.now()
  hostile.mask(('a' + '\\'.repeat(60)).repeat(3_000))
  hostile.mask('\\'.repeat(200_000))
  expect(performance.now() - from).toBeLessThan(2_000)
})
