import { assert, property, string } from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isAddrSpec, parseMailbox } from '../../src/channels/address.ts'

describe('an address', () => {
  test.each([
    'ann@example.com',
    'ann.lee+tag@mail.example.co.uk',
    "o'brien@example.com",
    'ann@localhost',
    'jürgen@bücher.example',
    'user_1@xn--bcher-kva.example',
  ])('%s is one', (text) => {
    expect(isAddrSpec(text)).toBe(true)
  })

  test.each([
    '',
    'ann',
    '@example.com',
    'ann@',
    'ann@example.com,bob@example.com',
    'ann@example.com;bob@example.com',
    'ann@example.com bob@example.com',
    'ann@example.com\r\nBcc: bob@example.com',
    'ann@example.com\n',
    ' ann@example.com',
    'Ann <ann@example.com>',
    '<ann@example.com>',
    'ann(comment)@example.com',
    '"ann lee"@example.com',
    'ann@[127.0.0.1]',
    'ann@@example.com',
    'ann@bob@example.com',
    '.ann@example.com',
    'a..b@example.com',
    'ann@example..com',
    'ann@-example.com',
    'ann@example.com.',
    'ann\0@example.com',
    'ann\u2028@example.com',
    'undisclosed:ann@example.com;',
    `${'a'.repeat(65)}@example.com`,
    `ann@${'a.'.repeat(130)}com`,
    'ann\ud800@example.com',
  ])('%j is none', (text) => {
    expect(isAddrSpec(text)).toBe(false)
  })

  test('never holds what could separate it from a second one', () => {
    const separators = /[\s,;:<>()[\]"\\]|\p{Cc}/u
    const addresses = property(string({ unit: 'grapheme' }), string(), (before, after) => {
      const text = `${before}@${after}`
      return !isAddrSpec(text) || !separators.test(text)
    })
    expect(() => assert(addresses)).not.toThrow()
  })
})

describe('a mailbox', () => {
  test.each([
    ['hello@example.com', { name: '', address: 'hello@example.com' }],
    ['Example <hello@example.com>', { name: 'Example', address: 'hello@example.com' }],
    ['O"Brien, Pat <pat@example.com>', { name: 'O"Brien, Pat', address: 'pat@example.com' }],
    ['"Lee, \\"A\\"" <a@example.com>', { name: 'Lee, "A"', address: 'a@example.com' }],
    ['🔔 Belfry <b@example.com>', { name: '🔔 Belfry', address: 'b@example.com' }],
  ])('%s is read', (text, mailbox) => {
    expect(parseMailbox(text)).toEqual(mailbox)
  })

  test.each([
    'a@example.com, b@example.com',
    'A <a@example.com>, B <b@example.com>',
    'Eve <eve@example.org> <a@example.com>',
    'A\r\nBcc: b@example.com <a@example.com>',
    'A <a@example.com',
    'A <a@example.com,b@example.com>',
    '',
  ])('%j is refused', (text) => {
    expect(parseMailbox(text)).toBeUndefined()
  })
})
