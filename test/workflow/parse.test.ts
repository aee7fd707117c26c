import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseYaml, type ParsedFile } from '../../src/workflow/parse.ts'

function parse(text: string, path = 'a.yaml'): ParsedFile {
  const result = parseYaml(path, Buffer.from(text))
  if (result.kind === 'invalid') throw new Error(JSON.stringify(result.diagnostics))
  return result.file
}

test('reads YAML 1.2: no dates, no yes and no, no merge keys', () => {
  const text = 'a: 2026-01-31\nb: yes\nc: 12:30\nd: 0x1F\ne: ~\nf: &f [1]\ng: *f\nh: {<<: 1}\n'
  expect(parse(text).value).toEqual({
    a: '2026-01-31',
    b: 'yes',
    c: '12:30',
    d: 31,
    e: null,
    f: [1],
    g: [1],
    h: { '<<': 1 },
  })
})

test('reads every JSON text as JSON does', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 5, noUnicodeString: false }), (value) => {
      const text = JSON.stringify({ value }, undefined, 2)
      fc.pre(!/__proto__|constructor|prototype|\\u0000|\\ud[89a-f]/.test(text))
      fc.pre(!/(?<!\.)\d{16}|e[+-]?\d/.test(text))
      fc.pre(!/[^\P{Cc}\n]|[\ufeff\ufffe\uffff]/u.test(text))
      expect(parse(text, 'a.json').value).toEqual(JSON.parse(text))
    }),
  )
})

test('answers any bytes with a value or with diagnostics in the file', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc
      .string({ maxLength: 200, unit: fc.constantFrom(...Array.from('ab:-[]{}"\'&*!|>#? \n\t,')) })
      .map((text) => Buffer.from(text)),
  )
  fc.assert(
    fc.property(bytes, (input) => {
      const result = parseYaml('a.yaml', input)
      if (result.kind === 'parsed') return
      const lines = Buffer.from(input).toString().split('\n')
      for (const { line, column } of result.diagnostics) {
        expect(line).toBeGreaterThan(0)
        expect(line).toBeLessThanOrEqual(lines.length)
        expect(column).toBeGreaterThan(0)
      }
    }),
    { numRuns: 1000 },
  )
})

/** What stands in the file where the text of `a` has its X. */
function characterAtX(text: string): string | undefined {
  const file = parse(text)
  const value = String((file.value as { readonly a: unknown }).a)
  const before = value.slice(0, value.indexOf('X')).split('\n')
  const at = { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 }
  const { line, column } = file.locateInside(['a'], at)
  return text.split('\n')[line - 1]?.charAt(column - 1)
}

describe('the place of a text inside its value', () => {
  test.each([
    ['plain', 'a: one X\n'],
    ['plain over two lines', 'a: one\n  two X\n'],
    ['in double quotes', 'a: "one \\" \\u00e4 \\x41 X"\n'],
    ['in double quotes over two lines', 'a: "one\n\n   two\\n X"\n'],
    ['in single quotes', "a: 'it''s X'\n"],
    ['literal', 'a: |\n  one\n\n    two X\n'],
    ['literal with an indentation of its own', 'a: |4\n      one\n    X\n'],
    ['folded', 'a: >-\n  one\n  two\n\n  three X\n'],
    ['behind an anchor', 'a: &b one X\n'],
    ['in an alias', 'b: &b one X\na: *b\n'],
    ['with CRLF', 'a: |\r\n  one\r\n  X\r\n'],
  ])('%s', (_, text) => {
    expect(characterAtX(text)).toBe('X')
  })
})

test('an alias may be used often while the whole stays small', () => {
  const aliases = Array.from({ length: 300 }, () => '*a').join(', ')
  expect(parse(`a: &a {b: 1}\nc: [${aliases}]\n`).value).toHaveProperty('c.299.b', 1)
})
