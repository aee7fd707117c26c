import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { TerminalFailure } from '../../src/errors.ts'
import {
  checkTemplate,
  renderText,
  templateUses,
  type OutputKind,
  type Translations,
} from '../../src/language/templates.ts'

const scope = {
  recipient: { name: 'Ann', timezone: 'Europe/Vienna', locale: 'de-AT' },
  tenant: { id: 'acme' },
  locale: 'en',
  timestamp: '2026-03-01T12:00:00Z',
  data: {
    amount: 1234.5,
    items: [
      { name: 'b', kind: 'x', n: 2 },
      { name: 'a', kind: 'y', n: 10 },
      { name: 'c', kind: 'x', n: '3' },
    ],
    tags: ['one', 'two', 'one'],
    bio: 'Hi **there** <b>x</b> ![p](https://example.com/p.png) [go](javascript:x)',
  },
}

const translations: Translations = {
  fallback: 'en',
  files: [
    locale('de', {
      hello: 'Hallo {{name}}',
      pages: { one: 'eine Seite', other: '{{count}} Seiten' },
    }),
    locale('de-AT', { hello: 'Servus {{ name }}' }),
    locale('en', {
      hello: 'Hello {{name}}',
      only: 'English',
      pages: { zero: 'no pages', one: 'one page', other: '{{count}} pages' },
    }),
    locale('pl', {
      files: {
        one: '1 plik',
        few: '{{count}} pliki',
        many: '{{count}} plików',
        other: '{{count}} pliku',
      },
    }),
    { ...locale('de', { only: 'Nur Acme' }), tenant: 'acme' },
    { ...locale('en', { fallen: 'Acme says' }), tenant: 'acme' },
  ],
}

function locale(tag: string, texts: Readonly<Record<string, string | Record<string, string>>>) {
  return { locale: tag, tenant: null, texts: new Map(Object.entries(texts)) }
}

function text(source: string, kind: OutputKind = 'text', given: object = scope): string {
  return renderText(source, { kind, partials: {}, translations, scope: given, name: 'body' })
}

const codesOf = (source: string, kind: OutputKind = 'html') =>
  checkTemplate(source, { kind, partials: new Set() }).map(({ code, line, column }) =>
    [line, column, code].join(' '),
  )

describe('numbers and times', () => {
  test.each([
    [
      '{{number data.amount}} {{number data.amount locale="en" decimals=2}}',
      '1\u00a0234,5 1,234.50',
    ],
    [
      '{{number 0.256 style="percent"}} {{number "12000" style="compact" locale="en"}}',
      '26\u00a0% 12K',
    ],
    ['{{number no}}|{{currency no "EUR"}}|{{relative no}}', '||'],
    ['{{currency data.amount "eur"}} {{currency 5 "JPY" locale="en"}}', '€\u00a01.234,50 ¥5'],
    ['{{currency 5 "USD" locale="en" decimals=0}}', '$5'],
    [
      '{{relative "2026-03-04T12:00:00Z" locale="en"}} {{relative "2026-03-01T10:00:00Z"}}',
      'in 3 days vor 2 Stunden',
    ],
    [
      '{{relative "2026-03-01T12:00:20Z" locale="en" from="2026-03-01T12:00:25Z"}}',
      '5 seconds ago',
    ],
    [
      '{{add 0.1 0.2}} {{subtract 5 "2"}} {{multiply 3 4}} {{divide 1 4}} {{round 2.345 2}} {{round 2.5}}',
      '0.3 3 12 0.25 2.35 3',
    ],
  ])('%s renders as it should', (source, expected) => {
    expect(text(source)).toBe(expected)
  })

  test('a recipient without a locale reads that of the environment', () => {
    expect(text('{{number 1234.5}}', 'text', { ...scope, recipient: {} })).toBe('1,234.5')
  })
})

describe('lists', () => {
  test.each([
    ['{{size data.items}} {{size "äö"}} {{size no}}', '3 2 0'],
    [
      '{{lookup (first data.items) "name"}} {{lookup (last data.items) "name"}} {{join (first data.tags 2)}}',
      'b c one, two',
    ],
    [
      '{{join (last data.tags 2) "+"}} {{join (slice data.tags 1)}} {{join (slice data.tags 0 -1)}}',
      'two+one two, one one, two',
    ],
    [
      '{{join (pluck (sort data.items "name") "name")}} {{join (pluck (sort data.items "n" "desc") "n")}}',
      'a, b, c 10, 3, 2',
    ],
    [
      '{{join (reverse data.tags)}} {{join (unique data.tags)}} {{size (unique data.items "kind")}}',
      'one, two, one one, two 2',
    ],
    [
      '{{join (pluck (where data.items "kind" "x") "name")}} {{size (where data.items "none")}}',
      'b, c 0',
    ],
    [
      '{{#each (group data.items "kind")}}{{key}}:{{join (pluck items "name")}} {{/each}}',
      'x:b, c y:a ',
    ],
    [
      '{{includes data.tags "two"}} {{includes "text" "ex"}} {{includes data.tags "no"}}',
      'true true false',
    ],
    ['{{sum data.items "n"}} {{sum no}} {{join (split "a,b" ",") "|"}}', '15 0 a|b'],
  ])('%s renders as it should', (source, expected) => {
    expect(text(source)).toBe(expected)
  })
})

describe('words and digests', () => {
  test.each([
    [
      '{{titlecase "the cat\'s hat"}} {{trim " a "}} {{replace "a-b-c" "-" "+"}} {{concat 1 "x" no}}',
      "The Cat's Hat a a+b+c 1x",
    ],
    [
      '{{hmac "text" key="secret"}}',
      '2f443685592900e619f2f3b2350c3c8a5738e2e7a26bc9a244d3393c3cd6abd6',
    ],
    ['{{digest "" hash="md5"}}', 'd41d8cd98f00b204e9800998ecf8427e'],
    ['{{digest "" encoding="base64"}}', '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='],
  ])('%s renders as it should', (source, expected) => {
    expect(text(source)).toBe(expected)
  })
})

describe('Markdown in HTML', () => {
  test('it is HTML, with no HTML, image or code of its own', () => {
    const html = text('<div>{{markdown data.bio}}</div>', 'html')
    expect(html).toContain('<strong>there</strong> &lt;b&gt;x&lt;/b&gt;')
    expect(html).not.toContain('<img')
    expect(html).not.toContain('href="javascript')
  })

  test('it stands in the text of HTML only', () => {
    expect(codesOf('<p>\n{{markdown x}}</p>')).toEqual([])
    expect(codesOf('<p title="{{markdown x}}">')).toEqual(['1 11 unsafe_context'])
    for (const kind of ['markdown', 'url', 'line', 'text'] as const)
      expect(codesOf('{{markdown x}}', kind)).toEqual(['1 1 unsafe_context'])
    // Inside another call it is a text like any other, and escaped.
    expect(text('{{concat (markdown "**x**")}}', 'html')).toBe(
      '&lt;p&gt;&lt;strong&gt;x&lt;/strong&gt;&lt;/p&gt;',
    )
  })
})

describe('translations', () => {
  test.each([
    ['the language and region first', '{{t "hello" name="Ann"}}', 'Servus Ann'],
    ['then the language', '{{t "pages" count=2}}', '2 Seiten'],
    ['a tenant before all', '{{t "only"}}', 'Nur Acme'],
    [
      "the tenant's texts in the fallback language before those of all",
      '{{t "fallen"}}',
      'Acme says',
    ],
    ['no tenant where another is named', '{{t "only" tenant="other"}}', 'English'],
    ['another locale', '{{t "pages" count=1 locale="en-GB"}}', 'one page'],
    ['last of all a locale that has it', '{{t "files" count=5}}', '5 plików'],
    ['a default where no file has it', '{{t (concat "no" "ne") default="-"}}', '-'],
  ])('%s', (_, source, expected) => {
    expect(text(source)).toBe(expected)
  })

  test.each([
    ['pl', [1, 3, 5, 1.5], '1 plik|3 pliki|5 plików|1,5 pliku'],
    ['en', [0, 1, 1200], 'no pages|one page|1,200 pages'],
  ])('plural forms are those of the language %s', (tag, counts, expected) => {
    const key = tag === 'pl' ? 'files' : 'pages'
    const all = counts.map((count) => text(`{{t "${key}" count=${count} locale="${tag}"}}`))
    expect(all.join('|')).toBe(expected)
  })

  test('what is put in is escaped like any value', () => {
    expect(text('<p>{{t "hello" name="<b>"}}</p>', 'html')).toBe('<p>Servus &lt;b&gt;</p>')
  })

  test('their keys are found, with their place', () => {
    expect(templateUses('{{t "a"}}\n{{#if (t x)}}{{upper (t "b" n=1)}}{{/if}}').texts).toEqual([
      { key: 'a', line: 1, column: 5 },
      { key: undefined, line: 2, column: 10 },
      { key: 'b', line: 2, column: 25 },
    ])
    expect(templateUses('{{#each data.x as |t|}}{{upper t}}{{/each}}').texts).toEqual([])
  })
})

describe('bad arguments', () => {
  test.each([
    ['{{number "abc"}}', 'number takes a number, not "abc"'],
    ['{{number 1 decimals=99}}', 'decimals of number is a whole number from 0 to 20'],
    [
      '{{number 1 style=recipient.name}}',
      'style of number is one of decimal, percent, compact, not "Ann"',
    ],
    ['{{currency 1 "euro"}}', 'currency takes the code of a currency such as "EUR", not "euro"'],
    ['{{relative "soon"}}', 'relative takes a time, not "soon"'],
    ['{{divide 1 0}}', 'divide cannot divide by 0'],
    ['{{round 1 99}}', 'round takes a whole number of digits from 0 to 15'],
    ['{{join recipient}}', 'join takes a list, not '],
    ['{{hmac "x"}}', 'hmac needs key="…"'],
    ['{{hmac "x" key="k" hash=recipient.name}}', 'hash of hmac is one of'],
    ['{{t "none"}}', 'there is no translation "none"'],
    ['{{t data.items}}', 't takes a key, not '],
  ])('%s fails and says why', (source, message) => {
    expect(() => text(source)).toThrow(TerminalFailure)
    expect(() => text(source)).toThrow(`body: ${message}`)
  })

  test('literal arguments are checked with the file', () => {
    expect(codesOf('{{number 1 style="money"}}', 'text')).toEqual(['1 12 wrong_arguments'])
    expect(codesOf('{{t "a" anything=1}}', 'text')).toEqual([])
  })

  test.each([
    ['lists', '{{#each big}}{{size (sort ../big)}}{{/each}}'],
    ['texts that grow', `{{#each big}}{{size (replace ../wide "x" ../wide)}}{{/each}}`],
  ])('helpers of %s do no endless work', (_, source) => {
    const given = {
      big: Array.from({ length: 5_000 }, (__, index) => index),
      wide: 'x'.repeat(9_000),
    }
    const started = performance.now()
    expect(() => text(source, 'text', given)).toThrow(TerminalFailure)
    expect(performance.now() - started).toBeLessThan(4_000)
  })

  test('Markdown is bounded, in its size and with the time of the render', () => {
    const given = { wide: 'x'.repeat(300 * 1024) }
    expect(() => text('{{markdown wide}}', 'html', given)).toThrow(
      'the Markdown has 300 kB, and may have 256 kB',
    )
    let now = 0
    const watch = vi.spyOn(performance, 'now').mockImplementation(() => (now += 1_500))
    onTestFinished(() => watch.mockRestore())
    expect(() => text('{{markdown data.bio}}', 'html')).toThrow(
      'the template takes longer than 2 seconds',
    )
  })

  test('a render is stopped after two seconds', () => {
    let now = 0
    const watch = vi.spyOn(performance, 'now').mockImplementation(() => (now += 1_500))
    onTestFinished(() => watch.mockRestore())
    const given = { many: Array.from({ length: 20_000 }, () => 'x') }
    expect(() => text('{{#each many}}{{this}}{{/each}}', 'text', given)).toThrow(
      'the template takes longer than 2 seconds',
    )
    expect(text('{{#each many}}{{this}}{{/each}}', 'text', { many: ['x'] })).toBe('x')
  })
})
