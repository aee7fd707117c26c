import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { checkTemplate, renderText } from '../../src/language/templates.ts'

const partials = {}

function problems(source: string, kind: 'html' | 'url' = 'html'): readonly string[] {
  return checkTemplate(source, { kind, partials: new Set() }).map(
    ({ line, column, code }) => `${line}:${column} ${code}`,
  )
}

/** The schemes of all links, as a browser would resolve them. */
function schemes(html: string): readonly string[] {
  return [...html.matchAll(/href="([^"]*)"/g)].map(([, value = '']) => {
    const link = value
      .replace(/&#(\d+);/g, (_, code: string) => String.fromCodePoint(Number(code)))
      .replaceAll('&colon;', ':')
      .replaceAll('&Tab;', '\t')
      .replaceAll('&amp;', '&')
    const base = 'https://base.example/'
    return URL.canParse(link, base) ? new URL(link, base).protocol : 'none'
  })
}

const runsCode = /^(?:javascript|vbscript|data|blob|filesystem|view-source):$/

describe('a URL in an attribute', () => {
  test.each([
    '<a href="{{a}}:x">',
    '<a href="{{a}}&colon;x">',
    '<a href="{{a}}&#58;x">',
    '<a href="{{a}}script&#x3a;x">',
    '<a href="{{a}}&Tab;script:x">',
    '<a href="{{a}}&NewLine;x">',
    '<a href="{{a}}{{#if b}}y{{else}}&col{{/if}}on;x">',
    '<a href="{{a}}{{#if b}}&col{{else}}y{{/if}}on;x">',
  ])('cannot be given its scheme by a value: %s', (source) => {
    expect(problems(source)).toEqual([expect.stringContaining(' unsafe_url')])
  })

  test.each([
    '<a href="{{a}}&utm=1">',
    '<a href="{{a}}&amp;utm={{b}}">',
    '<a href="{{a}}&co={{b}}">',
    '<a href="{{a}}?x=1&colon={{b}}">',
    '<a href="{{a}}/x&#58;{{b}}">',
  ])('may go on with a query behind a value: %s', (source) => {
    expect(problems(source)).toEqual([])
  })

  test('runs no code, whatever the values are and however it is put together', () => {
    const piece = fc.constantFrom(
      '{{a}}',
      '{{b}}',
      '{{#if a}}',
      '{{else}}',
      '{{/if}}',
      '{{#each list}}',
      '{{this}}',
      '{{/each}}',
      'https://h.example/',
      '/',
      '?x=',
      'java',
      'script',
      'x',
      ':',
      '&',
      '&#58;',
      '&colon;',
      '&Tab;',
      '&co',
      'lon;',
      '&amp;',
      'utm=',
      ' ',
      '\t',
      'mailto:',
      '//',
    )
    const value = fc.oneof(
      fc.string(),
      fc.constantFrom('javascript', 'java', 'script', 'data', 'javascript:', 'colon;', '#58;', ''),
      fc.constantFrom(' javascript', 'JAVA\tscript', 'script:', ':x', '&colon;', '/x', 'http:'),
    )
    const seen = { sound: 0 }
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 7 }), value, value, (pieces, a, b) => {
        const source = `<a href="${pieces.join('')}">`
        if (!/\{\{(?:a|b|this)\}\}/.test(source) || problems(source).length > 0) return
        const scope = { a, b, list: [a, b] }
        const html = renderText(source, { kind: 'html', partials, scope, name: 'link' })
        // A link that runs code with empty values does so because its author wrote it.
        const bare = { a: '', b: '', list: [] }
        const written = renderText(source, { kind: 'html', partials, scope: bare, name: 'link' })
        if (schemes(written).some((one) => runsCode.test(one))) return
        seen.sound += 1
        expect(schemes(html).filter((one) => runsCode.test(one))).toEqual([])
      }),
      { numRuns: 20_000 },
    )
    expect(seen.sound).toBeGreaterThan(1000)
  })
})
