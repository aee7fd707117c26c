import { describe, expect, test } from 'vitest'
import { compiledFor } from '../../src/language/template-compile.ts'
import { TerminalFailure } from '../../src/errors.ts'
import type { OutputKind } from '../../src/language/templates.ts'
import {
  checkTemplate,
  renderText,
  renderTree,
  TemplateError,
  templateHelpers,
  templateUses,
} from '../../src/language/templates.ts'

const scope = {
  recipient: { name: 'Ann', timezone: 'Europe/Vienna', locale: 'de' },
  data: {
    items: [{ title: 'One' }, { title: 'Two' }],
    counts: { open: 2, done: 5 },
    at: '2026-03-01T12:30:00Z',
    day: '2026-03-01',
    zero: 0,
    none: [],
    text: 'Grüße aus Wien',
  },
  vars: { app_url: 'https://app.example.com' },
}

function text(source: string, kind: OutputKind = 'text', given: object = scope): string {
  return renderText(source, { kind, partials: {}, scope: given, name: 'body' })
}

function failureOf(render: () => unknown): TemplateError {
  try {
    render()
  } catch (error) {
    if (error instanceof TemplateError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

function tree(node: unknown): unknown {
  return renderTree(node, { partials: {}, scope, name: 'webhook' })
}

function layoutProblems(source: string, layout: boolean): readonly unknown[] {
  return checkTemplate(source, { kind: 'html', partials: new Set(), layout })
}

describe('values', () => {
  test.each([
    ['Hi {{recipient.name}}', 'Hi Ann'],
    ['{{recipient.nick}}|{{nothing.at.all}}', '|'],
    ['{{data.items}}', '[{"title":"One"},{"title":"Two"}]'],
    ['{{data.counts}}', '{"open":2,"done":5}'],
    ['{{data.zero}} {{5}} {{true}} {{"x"}} {{null}}', '0 5 true x '],
    ['{{data.items.length}} {{data.items.[1].title}} {{data.items.1.title}}', '2 Two Two'],
    ['{{data.items.constructor}}{{data.__proto__.x}}{{data.text.toString}}{{toString}}', ''],
    ['{{! one }}a{{!-- {{two}} --}}b', 'ab'],
    ['\\{{raw}}', '{{raw}}'],
  ])('%s renders as it should', (source, expected) => {
    expect(text(source)).toBe(expected)
  })

  test('an unset value is empty in each kind', () => {
    for (const kind of ['html', 'markdown', 'url', 'line', 'text'] as const) {
      expect(text('{{data.unset}}', kind)).toBe('')
    }
  })

  test('a placeholder of letters and digits passes each kind unchanged', () => {
    const placeholder = 's3cr3t0a1b2c3d4e5f'
    for (const kind of ['html', 'markdown', 'url', 'line', 'text'] as const) {
      expect(text('{{p}}', kind, { p: placeholder })).toBe(placeholder)
      expect(text('/x/{{p}}', kind, { p: placeholder })).toBe(`/x/${placeholder}`)
    }
    for (const source of ['<a style="color: {{p}}" title="{{p}}" href="/{{p}}">{{p}}</a>']) {
      expect(text(source, 'html', { p: placeholder })).toBe(source.replaceAll('{{p}}', placeholder))
    }
  })
})

describe('blocks', () => {
  test.each([
    ['{{#if data.zero}}a{{else}}b{{/if}}{{#if data.none}}a{{else}}b{{/if}}', 'bb'],
    ['{{#if no}}a{{else if recipient.name}}b{{else}}c{{/if}}', 'b'],
    ['{{#unless no}}a{{/unless}}{{^if no}}b{{/if}}', 'ab'],
    [
      '{{#each data.items}}{{@index}}{{@key}}{{@first}}{{@last}}{{this.title}}{{title}};{{/each}}',
      '00truefalseOneOne;11falsetrueTwoTwo;',
    ],
    ['{{#each data.counts}}{{@key}}={{this}} {{/each}}', 'open=2 done=5 '],
    ['{{#each data.items as |item i|}}{{i}}{{item.title}}{{/each}}', '0One1Two'],
    ['{{#each data.items}}{{../recipient.name}}{{@root.recipient.name}}{{/each}}', 'AnnAnnAnnAnn'],
    [
      '{{#each data.items}}{{#each ../data.counts}}{{@../index}}{{this}}{{/each}}{{/each}}',
      '02051215',
    ],
    ['{{#each data.none}}a{{else}}b{{/each}}{{#each nothing}}a{{/each}}', 'b'],
    [
      '{{#with data.counts}}{{open}}{{../recipient.name}}{{/with}}{{#with no}}a{{else}}b{{/with}}',
      '2Annb',
    ],
    ['{{#with data.counts as |c|}}{{c.done}}{{/with}}', '5'],
  ])('%s renders as it should', (source, expected) => {
    expect(text(source)).toBe(expected)
  })
})

describe('helpers', () => {
  test.each([
    ['{{lookup data.counts "done"}}{{lookup data.items 5}}{{lookup data "__proto__"}}', '5'],
    ['{{eq 1 1}} {{eq 1 "1"}} {{eq no null}} {{ne 1 2}}', 'true false true true'],
    [
      '{{gt 2 1}} {{gte 2 2}} {{lt "a" "b"}} {{lte 3 2}} {{gt no 1}} {{lt no 1}}',
      'true true true false false false',
    ],
    ['{{and 1 2}} {{and 0 2}} {{or 0 "x"}} {{or data.none ""}}| {{not 1}}', '2 0 x | false'],
    ['{{default no "a"}} {{default "" "b"}} {{default 0 "c"}}', 'a b 0'],
    ['{{upper "straße"}} {{lower "ÄB"}}', 'STRASSE äb'],
    ['{{json data.counts}} {{json no}} {{json "a\'b"}}', '{"open":2,"done":5} null "a\'b"'],
    [
      '{{truncate data.text 8}} {{truncate data.text 14}} {{truncate "abcdef" 4 ".."}}',
      'Grüße a… Grüße aus Wien ab..',
    ],
    ['{{truncate "😀😀😀" 2}}', '😀…'],
    [
      '{{pluralize 1 "day" "days"}} {{pluralize 2 "day" "days"}} {{pluralize 0 "day"}}',
      'day days days',
    ],
    ['{{date data.at}} {{date data.at locale="en" format="short"}}', '01.03.2026 3/1/26'],
    ['{{date data.at format="long" locale="en_US"}}', 'March 1, 2026'],
    ['{{date data.at time="short" locale="en"}}', 'Mar 1, 2026, 1:30 PM'],
    ['{{date data.at time="short" locale="en" zone="America/New_York"}}', 'Mar 1, 2026, 7:30 AM'],
    [
      '{{date data.at format="iso"}} {{date data.day format="iso"}}',
      '2026-03-01T12:30:00.000Z 2026-03-01',
    ],
    ['{{date data.day zone="America/New_York" locale="en"}}', 'Mar 1, 2026'],
    ['{{date no}}|{{date "soon"}}', '|soon'],
    ['{{#if (and (eq recipient.name "Ann") (gt data.counts.done 3))}}yes{{/if}}', 'yes'],
    ['{{upper (default no (lookup data.items.[0] "title"))}}', 'ONE'],
  ])('%s renders as it should', (source, expected) => {
    expect(text(source)).toBe(expected)
  })

  test('a date falls back over zones and locales that do not exist', () => {
    const given = {
      at: '2026-03-01T23:30:00Z',
      recipient: { timezone: 'Mars/Base', locale: 'not a locale' },
      timezone: 'Europe/Vienna',
    }
    expect(text('{{date at}}', 'text', given)).toBe('Mar 2, 2026')
    expect(text('{{date at}}', 'text', { at: given.at })).toBe('Mar 1, 2026')
  })

  test('each helper has a line for the docs', () => {
    expect(Object.keys(templateHelpers)).toContain('each')
    for (const summary of Object.values(templateHelpers)) expect(summary).toMatch(/\.$/)
  })
})

describe('partials', () => {
  const partials = {
    button: '<a href="{{url}}">{{label}}</a>',
    name: '{{recipient.name}}&',
    broken: '<p>\n  {{uper x}}</p>',
    again: 'x{{> again}}',
    ping: '{{> pong}}{{> pong}}',
    pong: '{{> ping}}{{> ping}}',
  }
  const render = (source: string, kind: OutputKind = 'html') =>
    renderText(source, { kind, partials, scope, name: 'email.html' })

  test('a partial gets arguments and is escaped for what includes it', () => {
    const source = '{{> button label="<b>" url="javascript:x"}}'
    expect(render(source)).toBe('<a href="#blocked">&lt;b&gt;</a>')
    expect(render(source, 'text')).toBe('<a href="javascript:x"><b></a>')
    expect(render('{{#each data.items}}{{> button label=title}}{{/each}}')).toBe(
      '<a href="">One</a><a href="">Two</a>',
    )
  })

  test('a partial sees the scope and can be given another context', () => {
    expect(render('{{> name}}', 'text')).toBe('Ann&')
    expect(render('{{> button data.counts label=recipient.name}}', 'text')).toBe(
      '<a href="">Ann</a>',
    )
  })

  test('a partial that includes itself is stopped', () => {
    const failure = failureOf(() => render('{{> again}}'))
    expect(failure.code).toBe('template_budget')
    expect(failure.message).toContain('partial "again"')
    expect(failureOf(() => render('{{> ping}}')).code).toBe('template_budget')
  })

  test('a fault in a partial names the partial and its place', () => {
    const failure = failureOf(() => render('{{> broken}}'))
    expect(failure).toMatchObject({ code: 'unknown_helper', line: 2, column: 5 })
    expect(failure.message).toBe('partial "broken" in email.html:2:5: there is no helper "uper"')
  })
})

describe('layouts', () => {
  test('{{{content}}} stands as it is', () => {
    const source = '<body>{{{content}}}{{content}}</body>'
    const content = '<p>safe</p>'
    expect(
      renderText(source, {
        kind: 'html',
        partials: {},
        scope: { content },
        name: 'l',
        layout: true,
      }),
    ).toBe('<body><p>safe</p>&lt;p&gt;safe&lt;/p&gt;</body>')
  })

  test('{{{content}}} stands neither in other templates nor inside a tag', () => {
    expect(layoutProblems('{{{content}}}', true)).toEqual([])
    expect(layoutProblems('{{{content}}}', false)).toMatchObject([{ code: 'unescaped_value' }])
    expect(layoutProblems('{{{data.content}}}', true)).toMatchObject([{ code: 'unescaped_value' }])
    expect(layoutProblems('<a title="{{{content}}}">', true)).toMatchObject([
      { code: 'unsafe_context' },
    ])
  })
})

describe('trees', () => {
  test('a leaf of one expression keeps its type', () => {
    expect(
      tree({
        n: '{{ data.zero }}',
        list: '{{data.items}}',
        object: ['{{data.counts}}'],
        unset: '{{data.unset}}',
        helper: '{{eq 1 1}}',
        literal: '{{5}}',
        text: 'n={{data.zero}}',
        spaced: ' {{data.zero}}',
        block: '{{#if data.items}}1{{/if}}',
        plain: 'x',
        number: 7,
        no: null,
      }),
    ).toEqual({
      n: 0,
      list: scope.data.items,
      object: [scope.data.counts],
      unset: null,
      helper: true,
      literal: 5,
      text: 'n=0',
      spaced: ' 0',
      block: '1',
      plain: 'x',
      number: 7,
      no: null,
    })
  })

  test('keys are not templates, also unusual ones', () => {
    const node = JSON.parse('{"__proto__": "{{data.zero}}", "{{x}}": 1}') as object
    expect(JSON.stringify(tree(node))).toBe('{"__proto__":0,"{{x}}":1}')
  })

  test('a fault says which leaf it is in', () => {
    const failure = failureOf(() => tree({ blocks: ['a', { text: '{{#if x}}' }] }))
    expect(failure.message).toMatch(/^webhook at \/blocks\/1\/text:1:10: /)
  })
})

describe('budgets', () => {
  const long = {
    many: Array.from({ length: 400 }, () => 'x'),
    few: Array.from({ length: 200 }, () => 'x'),
    wide: 'x'.repeat(100_000),
  }

  test.each([
    ['rounds', '{{#each many}}{{#each ../many}}{{/each}}{{/each}}'],
    ['unset values', `{{#each few}}{{#each ../few}}${'{{z}}'.repeat(500)}{{/each}}{{/each}}`],
    ['output of values', '{{#each many}}{{../wide}}{{/each}}'],
    ['output of text', `{{#each many}}{{#each ../many}}${'y'.repeat(100)}{{/each}}{{/each}}`],
    ['work of helpers', `{{#each many}}${'{{#if (upper ../wide)}}{{/if}}'.repeat(20)}{{/each}}`],
    [
      'comparisons',
      `{{#each many}}{{#each ../many}}${'{{#if (eq ../wide ../../wide)}}{{/if}}'.repeat(99)}{{/each}}{{/each}}`,
    ],
  ])('a template that spends too much on %s is stopped soon', (_, source) => {
    const started = performance.now()
    const failure = failureOf(() => text(source, 'text', long))
    expect(failure.code).toBe('template_budget')
    expect(failure).toBeInstanceOf(TerminalFailure)
    expect(performance.now() - started).toBeLessThan(5_000)
  })

  test('what is nested is paid for once', () => {
    const source = `{{#each many}}{{#if this}}{{#each ../rest}}${'y'.repeat(1_000)}{{/each}}{{/if}}{{/each}}`
    expect(text(source, 'text', { ...long, rest: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] })).toHaveLength(
      4_000_000,
    )
  })

  test('one render does not pay for another', () => {
    const source = '{{#each many}}{{#each ../many}}{{@index}}{{/each}}{{/each}}'
    const given = { many: long.many.slice(0, 250) }
    expect(text(source, 'text', given)).toBe(text(source, 'text', given))
  })
})

describe('uses', () => {
  test('partials and full paths are found, with their place', () => {
    const source = [
      '{{> header title=data.title}}{{> "side/bar" data.side}}',
      '{{#each data.items as |item i|}}{{item.name}}{{this.id}}{{i}}{{../tenant.name}}{{@index}}{{/each}}',
      '{{#with recipient}}{{email}}{{@root.vars.x}}{{/with}}{{date data.at zone=recipient.timezone}}',
      '{{#if (and (eq data.a 1) data.b)}}{{else}}{{data.c}}{{/if}}{{upper (lookup data.map data.key)}}',
      '{{#each (lookup data.q "x")}}{{lost}}{{/each}}',
    ].join('\n')
    const uses = templateUses(source)
    expect(uses.partials).toEqual(['header', 'side/bar'])
    expect(uses.variables.map(({ path }) => path).join(' ')).toBe(
      [
        'data.title data.side data.items data.items.*.name data.items.*.id tenant.name',
        'recipient recipient.email vars.x data.at recipient.timezone',
        'data.a data.b data.c data.map data.key data.q',
      ].join(' '),
    )
    expect(uses.variables[0]).toEqual({ path: 'data.title', line: 1, column: 18 })
    expect(uses.variables[3]).toEqual({ path: 'data.items.*.name', line: 2, column: 35 })
  })

  test('broken source has none', () => {
    expect(templateUses('{{#if data.x}}{{> p}}')).toEqual({
      partials: [],
      variables: [],
      texts: [],
    })
    expect(templateUses('{{#if x}}'.repeat(9_000))).toEqual({
      partials: [],
      variables: [],
      texts: [],
    })
  })
})

test('what is compiled is kept as long as it is used, and as long as there is room', () => {
  const partials = {}
  const compiled = (source: string) => compiledFor(source, 'text', partials)
  const idle = compiled('idle {{data.a}}')
  const busy = compiled('busy {{data.a}}')
  for (let index = 0; index < 40; index += 1) {
    compiled(`${index}${'x'.repeat(60_000)}`)
    expect(compiled('busy {{data.a}}')).toBe(busy)
  }
  expect(compiled('idle {{data.a}}')).not.toBe(idle)
})

test('a changed set of partials is not answered from memory', () => {
  for (const p of ['one', 'two']) {
    expect(renderText('{{> p}}', { kind: 'text', partials: { p }, scope, name: 'x' })).toBe(p)
  }
})
