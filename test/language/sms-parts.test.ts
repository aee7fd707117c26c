import { expect, test } from 'vitest'
import { smsParts } from '../../src/language/sms-parts.ts'

test.each([
  ['', 1, []],
  ['a'.repeat(160), 1, []],
  ['a'.repeat(161), 2, []],
  ['a'.repeat(306), 2, []],
  ['a'.repeat(307), 3, []],
  // Each of these counts twice.
  ['€'.repeat(80), 1, []],
  ['€'.repeat(81), 2, []],
  ['ä'.repeat(70), 1, []],
  ['ç'.repeat(70), 1, ['ç']],
  ['ç'.repeat(71), 2, ['ç']],
  ['a'.repeat(68) + '🔔', 1, ['🔔']],
  ['a'.repeat(69) + '🔔', 2, ['🔔']],
  [`${'a'.repeat(140)}“🔔”`, 3, ['“', '🔔', '”']],
])('%j is sent in %i', (text, parts, foreign) => {
  expect(smsParts(text)).toMatchObject({ parts, foreign })
})

test('says what it would be without its foreign letters', () => {
  expect(smsParts(`${'a'.repeat(150)}🔔`)).toMatchObject({ parts: 3, without: 1 })
})
