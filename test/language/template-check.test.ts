import { describe, expect, test } from 'vitest'
import type { OutputKind } from '../../src/language/templates.ts'
import { checkTemplate } from '../../src/language/templates.ts'

const partials = new Set(['button', 'side/bar'])

function problems(source: string, kind: OutputKind = 'text'): string[] {
  return checkTemplate(source, { kind, partials }).map(
    ({ line, column, code }) => `${line}:${column} ${code}`,
  )
}

function nested(levels: number, open = '{{#if a}}'): string {
  return open.repeat(levels) + '{{/if}}'.repeat(levels)
}

describe('names', () => {
  test.each([
    ['a\n  {{uper data.x}}', '2:5 unknown_helper', 'did you mean "upper"?'],
    ['{{#if (eqq a b)}}{{/if}}', '1:8 unknown_helper', 'did you mean "eq"?'],
    ['{{upper (lowr a)}}', '1:10 unknown_helper', 'did you mean "lower"?'],
    ['{{date a zone=(zon b)}}', '1:16 unknown_helper', undefined],
    ['{{a.b c}}', '1:3 unknown_helper', undefined],
    ['{{"a" c}}', '1:3 unknown_helper', undefined],
    ['{{5 c}}', '1:3 unknown_helper', undefined],
    ['{{#if a}}\n{{else if (nto a)}}{{/if}}', '2:12 unknown_helper', 'did you mean "not"?'],
    [
      '{{#each data.items}}\n{{/each}}\n {{#items}}x{{/items}}',
      '3:2 unknown_helper',
      'write {{#if items}}, {{#each items}} or {{#with items}}',
    ],
    [
      '{{^items}}x{{/items}}',
      '1:1 unknown_helper',
      'write {{#if items}}, {{#each items}} or {{#with items}}',
    ],
    ['{{#each a as |each|}}{{each x}}{{/each}}', '1:24 unknown_helper', undefined],
    ['x {{> buton label="x"}}', '1:7 unknown_partial', 'did you mean "button"?'],
    ['{{> side/bar}}{{> "side/car"}}', '1:19 unknown_partial', 'did you mean "side/bar"?'],
    ['{{> nothing-like-it}}', '1:5 unknown_partial', undefined],
    ['{{helperMissing a}}{{log a}}', '1:3 unknown_helper', undefined],
  ])('%j is told', (source, expected, hint) => {
    expect(problems(source)[0]).toBe(expected)
    expect(checkTemplate(source, { kind: 'text', partials })[0]?.hint).toBe(hint)
  })

  test.each([
    '{{upper data.date}}{{this.date}}{{data.upper}}',
    '{{#each a as |date|}}{{date}}{{/each}}',
    '{{upper date}}',
    '{{@root.date}}{{#each a}}{{../date}}{{./date}}{{/each}}',
    '{{> button}}{{> side/bar data.x y=(upper z)}}',
  ])('%j is fine', (source) => {
    expect(problems(source)).toEqual([])
  })
})

describe('arguments', () => {
  test.each([
    ['{{date}}', '1:3 wrong_arguments'],
    ['{{upper a b}}', '1:3 wrong_arguments'],
    ['{{#if a b}}{{/if}}', '1:4 wrong_arguments'],
    ['{{if a}}', '1:3 wrong_arguments'],
    ['{{#upper a}}{{/upper}}', '1:4 wrong_arguments'],
    ['{{#if (each a)}}{{/if}}', '1:8 wrong_arguments'],
    ['{{date a formt="long"}}', '1:10 wrong_arguments'],
    ['{{date a format="lang"}}', '1:10 wrong_arguments'],
    ['{{date a zone="Europe/Wien"}}', '1:10 wrong_arguments'],
    ['{{upper a b=1}}', '1:11 wrong_arguments'],
    ['{{> button a b}}', '1:1 wrong_arguments'],
  ])('%j is told', (source, expected) => {
    expect(problems(source)).toEqual([expected])
  })
})

describe('syntax that is refused', () => {
  test.each([
    ['{{> (lookup data "x")}}', '1:1'],
    ['{{#> button}}x{{/button}}', '1:1'],
    ['a {{* deco}}', '1:3'],
    ['a\n{{#*inline "x"}}y{{/inline}}', '2:1'],
    ['{{{{raw}}}} {{x}} {{{{/raw}}}}', '1:1'],
  ])('%j is told', (source, place) => {
    expect(problems(source)).toEqual([`${place} unsupported_syntax`])
  })

  test.each(['html', 'markdown', 'url'] as const)('an unescaped value is refused in %s', (kind) => {
    expect(problems('/{{{data.x}}}', kind)).toEqual(['1:2 unescaped_value'])
    expect(problems('/{{&data.x}}', kind)).toEqual(['1:2 unescaped_value'])
  })

  test('where nothing is escaped, triple braces do no harm', () => {
    expect(problems('{{{data.x}}}', 'text')).toEqual([])
    expect(problems('{{{data.x}}}', 'line')).toEqual([])
  })
})

describe('syntax errors', () => {
  const filler = 'A long first line, longer than the quote of the parser is.\n'.repeat(3)

  test.each([
    ['{{#if x}}a{{else}}b', '1:20', 'a block is not closed'],
    ['{{#if x}}a{{/each}}', '1:4', 'if does not match each'],
    [`${filler}${filler}{{#if x}}{{/with}}`, '7:4', 'if does not match with'],
    ['{{a b c', '1:7', '"{{" is not closed'],
    ['{{a b ', '1:7', '"{{" is not closed'],
    ['a {{!-- x }}', '1:3', 'a comment is not closed'],
    ['a{b:{{x}}}', '1:8', 'unexpected "}}}"'],
    ['{{data.items.0}}', '1:14', 'unexpected a number'],
    [
      `${filler}  {{x}} and more and more and more text {{ y ! }} z`,
      '4:46',
      'unexpected a character that cannot stand here',
    ],
    [`${filler}{{/if}}`, '4:1', 'unexpected "{{/"'],
    ['{{}}', '1:3', 'unexpected "}}"'],
    ['{{a/../b}}', '1:3', 'Invalid path: a/..'],
    ['{{> }}', '1:5', 'unexpected "}}"'],
    ['{{upper (lower x}}', '1:17', 'unexpected "}}"'],
    ['{{date a zone=}}', '1:15', 'unexpected "}}"'],
    ['{{else}}', '1:1', 'unexpected "{{else}}"'],
    [`${filler}x {{#each a as |b}}{{/each}}`, '4:18', 'unexpected "}}"'],
  ])('%j is told with line and column', (source, place, message) => {
    const [problem] = checkTemplate(source, { kind: 'text', partials })
    expect(`${problem?.line}:${problem?.column}`).toBe(place)
    expect(problem).toMatchObject({ code: 'invalid_template', message })
  })
})

describe('bounds', () => {
  test('a template has at most 64 kB', () => {
    expect(problems('x'.repeat(65_536))).toEqual([])
    expect(problems('ä'.repeat(32_769))).toEqual(['1:1 template_too_large'])
  })

  test('blocks are nested at most 50 deep', () => {
    expect(problems(nested(50))).toEqual([])
    expect(problems(`\n${nested(51)}`)).toEqual(['2:451 template_too_deep'])
    expect(problems(nested(51, '{{~#if "}}" }}'))).toEqual(['1:701 template_too_deep'])
    expect(problems(`{{#if a}}${'{{else if b}}'.repeat(50)}{{/if}}`)).toEqual([
      `1:${9 + 49 * 13 + 1} template_too_deep`,
    ])
    expect(problems(`{{x ${'(not '.repeat(51)}a${')'.repeat(51)}}}`)).toEqual([
      '1:1 template_too_deep',
    ])
  })

  test('blocks beside each other are not nested', () => {
    expect(problems('{{#if a}}{{else if b}}{{else}}{{/if}}'.repeat(500))).toEqual([])
  })

  test('closing tags in comments and strings do not hide nesting', () => {
    for (const hidden of [
      '{{! {{/if}} }}',
      '{{!-- }}{{/if}} --}}',
      '{{x "{{/if}}"}}',
      "{{x '}}{{/if}}'}}",
      '{{[{{/if}}]}}',
      '\\{{/if}}',
    ]) {
      const source = `{{#if a}}${hidden}`.repeat(60)
      expect(`${hidden} ${problems(source)[0]}`).toMatch(/template_too_deep$/)
    }
  })

  test('hostile nesting is told at once', () => {
    const started = performance.now()
    for (const source of [
      nested(3_500),
      '{{'.repeat(30_000),
      '{{x ('.repeat(12_000),
      '{{"'.repeat(20_000),
      '{{!--'.repeat(12_000),
      '\\'.repeat(60_000),
      '{{[a'.repeat(15_000),
    ]) {
      expect(problems(source).length).toBeLessThanOrEqual(1)
    }
    expect(performance.now() - started).toBeLessThan(2_000)
  })
})

describe('HTML contexts', () => {
  test.each([
    ['<p {{x}}>', '1:4 unsafe_context'],
    ['</p a="{{x}}">', '1:1 unsafe_context'],
    ['<a href="{{x}}&{{y}}">', '1:16 unsafe_url'],
    ['<p {{x}}="a">', '1:4 unsafe_context'],
    ['<{{x}}>', '1:2 unsafe_context'],
    ['<p class={{x}}>', '1:10 unsafe_context'],
    ['<p class=a{{x}}>', '1:11 unsafe_context'],
    ['<a onclick="{{x}}">', '1:13 unsafe_context'],
    ['<img srcset="{{x}}">', '1:14 unsafe_context'],
    ['<iframe srcdoc="{{x}}"></iframe>', '1:17 unsafe_context'],
    ['<meta content="{{x}}">', '1:16 unsafe_context'],
    ['<script>\nlet a = {{json x}}</script>', '2:9 unsafe_context'],
    ['<!-- --{{x}}> -->', '1:8 unsafe_context'],
    ['<title></tit{{x}}</title>', '1:13 unsafe_context'],
    ['<a href="javascript:f({{x}})">', '1:23 unsafe_url'],
    ['<a href=" java\tscript:f({{x}})">', '1:25 unsafe_url'],
    ['<a href="java&#115;cript:{{x}}">', '1:26 unsafe_url'],
    ['<a href="{{x}}:alert(1)">', '1:15 unsafe_url'],
    ['<a href="{{#if x}}{{x}}{{/if}}script:1">', '1:31 unsafe_url'],
    ['<a href="{{#if x}}javascript:{{/if}}{{x}}">', '1:37 unsafe_url'],
    ['<a href="{{#if x}}/"{{/if}}>', '1:10 unsafe_context'],
    ['<p {{#if x}}hidden{{/if}}="a">', '1:26 unsafe_context'],
    ['{{#if x}}<!--{{/if}} a -->', '1:1 unsafe_context'],
    ['{{#each x}}<a title="{{/each}}">', '1:1 unsafe_context'],
    ['<p title="{{> button}}">', '1:11 unsafe_context'],
    ['<style>{{> button}}</style>', '1:8 unsafe_context'],
    ['<p>text</p', '1:11 unclosed_html'],
    ['a\n<a href="', '2:10 unclosed_html'],
    ['<!-- x', '1:7 unclosed_html'],
    ['<style>a{}', '1:11 unclosed_html'],
  ])('%j is told', (source, expected) => {
    expect(problems(source, 'html')[0]).toBe(expected)
  })

  test.each([
    '<!doctype html><html><head><title>{{x}}</title><style>a{color:{{x}} }</style></head></html>',
    '<td {{#if x}}class="a"{{/if}} {{#unless x}}hidden{{/unless}}>{{x}}</td>',
    '<tr{{#if x}} class="a"{{else}} class="b"{{/if}}><td nowrap></td></tr>',
    '<a href="{{x}}">1 < 2 & 3 {{x}}</a><br/><img src="cid:{{x}}" alt=\'{{x}}\'/>',
    '<a href="{{#if x}}{{x}}{{else}}https://example.com/{{/if}}">x</a>',
    '<a href="{{vars.app_url}}/a/{{x}}?b={{x}}#{{x}}" style="color: {{x}}">x</a>',
    '<!--[if mso]><table><tr><td width="{{x}}">{{x}}<![endif]-->{{x}}<!--[if !mso]><!-->a<!--<![endif]-->',
    '<!-- {{x}} --><!----><!--> <b>{{x}}</b> <?php ?>',
    '{{#each x}}<p>{{> button}}</p>{{/each}}<a href=https://example.com>x</a>',
  ])('%j is fine', (source) => {
    expect(problems(source, 'html')).toEqual([])
  })
})

describe('URLs', () => {
  test.each([
    ['javascript:{{x}}', '1:12 unsafe_url'],
    ['data:text/html,{{x}}', '1:16 unsafe_url'],
    ['{{x}}://host', '1:6 unsafe_url'],
    ['/a{{> button}}', '1:3 unsafe_context'],
  ])('%j is told', (source, expected) => {
    expect(problems(source, 'url')).toEqual([expected])
  })
})

describe('Markdown contexts', () => {
  test.each([
    ['a `{{x}}\n', '1:9 unsafe_context'],
    ['a `{{x}}', '1:9 unsafe_context'],
    ['it`s\n{{x}}', '2:1 unsafe_context'],
    ['```\n{{x}}', '2:6 unsafe_context'],
    ['> ```\n> {{x}}\n> ```', '2:3 unsafe_context'],
    ['<{{x}}>', '1:2 unsafe_context'],
    ['[a](javascript:{{x}})', '1:16 unsafe_url'],
    ['[a]({{x}}:b)', '1:10 unsafe_url'],
    ['{{#if x}}`{{/if}}{{y}}`', '1:1 unsafe_context'],
    ['`{{> button}}`', '1:2 unsafe_context'],
    ['\\\\{{x}}', '1:3 unsafe_context'],
    ['[a]: {{x}}', '1:6 unsafe_context'],
    ['[a]({{x}}', '1:10 unsafe_context'],
  ])('%j is told', (source, expected) => {
    expect(problems(source, 'markdown')[0]).toBe(expected)
  })

  test.each([
    'a \\` {{x}} `{{x}}` ``a`{{x}}`` [{{x}}]({{x}} "{{x}}")\n\n```js\n{{x}}\n```\n{{x}}',
    'it`s\n\n{{x}}',
    '- {{x}}\n- [a](https://example.com/{{x}})\n\n> {{x}}',
  ])('%j is fine', (source) => {
    expect(problems(source, 'markdown')).toEqual([])
  })
})
