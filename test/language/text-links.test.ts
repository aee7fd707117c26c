import { expect, test } from 'vitest'
import { replaceTextLinks } from '../../src/language/text-links.ts'

const marked = (text: string) => replaceTextLinks(text, (url) => `<${url}>`)

test.each([
  ['Open https://example.com/a?b=1&c=2#d now', 'Open <https://example.com/a?b=1&c=2#d> now'],
  ['https://example.com/a.', '<https://example.com/a>.'],
  ['(see https://example.com/a).', '(see <https://example.com/a>).'],
  ['https://example.com/a_(b)', '<https://example.com/a_(b)>'],
  ['https://example.com/token_-~', '<https://example.com/token_-~>'],
  ['"https://example.com/a", he said', '"<https://example.com/a>", he said'],
  ['見る：https://example.com/a。終わり', '見る：<https://example.com/a>。終わり'],
  ['HTTP://example.com\nhttps://example.org', '<HTTP://example.com>\n<https://example.org>'],
  ['https://bücher.example/ä', '<https://bücher.example/ä>'],
])('finds the addresses of %j', (text, expected) => {
  expect(marked(text)).toBe(expected)
})

test.each([
  'no link',
  'https://',
  'xhttps://example.com',
  'ftp://example.com/a',
  'example.com',
  'https://[a',
])('finds none in %j', (text) => {
  expect(marked(text)).toBe(text)
})

test('leaves alone what it is told to', () => {
  const text = 'https://example.com/a, https://example.com/b!'
  const replaced = replaceTextLinks(text, (url) => (url.endsWith('a') ? undefined : 'x'))
  expect(replaced).toBe('https://example.com/a, x!')
})

test('takes no longer than the text is long', () => {
  const text = `https://example.com/${')'.repeat(20_000)}`
  const before = performance.now()
  marked(text)
  expect(performance.now() - before).toBeLessThan(1_000)
})
