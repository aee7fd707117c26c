import type { OutputKind, Translations } from '../../src/language/templates.ts'

/** A template, and how it is rendered; the golden file of its number and name holds what comes out. */
export interface GoldenCase {
  readonly name: string
  readonly kind?: OutputKind
  readonly source: string
  /** Set for a mail: the body is rendered in this layout, or by itself. */
  readonly mail?: { readonly layout?: string; readonly isMjml?: boolean }
}

export const scope = {
  recipient: {
    id: 'ada',
    name: 'Ada "A" <Lovelace>',
    email: 'ada@example.com',
    locale: 'de-AT',
    timezone: 'Europe/Vienna',
    admin: true,
  },
  actor: { name: "Bob O'Neill & Co" },
  tenant: { id: 'acme', name: 'Acme' },
  vars: { app_url: 'https://app.example.com', colour: '#0a7', code: 'javascript:alert(1)' },
  data: {
    page: { id: 'a/b?c', title: 'Road & map', at: '2026-03-01T22:30:00Z', due: '2026-04-01' },
    comments: [
      { author: { name: 'Cleo' }, text: 'First <b>line</b>', at: '2026-03-01T10:00:00Z', likes: 2 },
      {
        author: { name: 'Dan' },
        text: 'Second, with **stars** and a [link](https://example.com/x)',
        at: '2026-03-01T11:00:00Z',
        likes: 0,
      },
      {
        author: { name: 'Cleo' },
        text: 'Third\nof two lines',
        at: '2026-02-28T23:30:00Z',
        likes: 1,
      },
    ],
    invoice: {
      lines: [
        { name: 'Seats', count: 3, price: 12.5 },
        { name: 'Storage', count: 1, price: 4 },
      ],
      total: 41.5,
      currency: 'EUR',
    },
    tree: {
      label: 'root',
      children: [{ label: 'a', children: [{ label: 'a1' }] }, { label: 'b' }],
    },
    empty: [],
    zero: 0,
    rtl: 'שלום',
    cjk: '日本語',
  },
  total_activities: 12,
  timestamp: '2026-03-02T09:00:00Z',
  timezone: 'Europe/Vienna',
  locale: 'en',
}

export const partials = {
  button: '<a class="button" href="{{url}}">{{label}}</a>',
  comment: '<li><b>{{author.name}}</b>: {{text}}{{#if likes}} ({{likes}}){{/if}}</li>',
  node: '<li>{{label}}{{#if children}}<ul>{{#each children}}{{> node}}{{/each}}</ul>{{/if}}</li>',
  'mail/footer': '<p class="small">{{t "footer" name=tenant.name}}</p>',
  line: '{{name}} x{{count}}: {{currency (multiply count price) @root.data.invoice.currency}}',
}

const texts = (entries: Readonly<Record<string, string | Readonly<Record<string, string>>>>) =>
  new Map(Object.entries(entries))

export const translations: Translations = {
  fallback: 'en',
  files: [
    {
      locale: 'de',
      tenant: null,
      texts: texts({
        footer: 'Gesendet von {{name}}.',
        count: { one: 'ein Kommentar', other: '{{count}} Kommentare' },
      }),
    },
    {
      locale: 'en',
      tenant: null,
      texts: texts({
        footer: 'Sent by {{name}}.',
        hello: 'Hello {{name}}!',
        count: { one: 'one comment', other: '{{count}} comments' },
      }),
    },
    { locale: 'de', tenant: 'acme', texts: texts({ footer: 'Ihr {{name}}-Team.' }) },
  ],
}

const STYLES =
  '<style>body{margin:0}p{margin:0 0 8px}.button{background:#07a;color:#fff}.small{font-size:12px}ul.c li{padding:4px}a:hover{color:red}@media(max-width:600px){.button{display:block}}</style>'
export const layouts: Readonly<
  Record<string, { readonly source: string; readonly isMjml: boolean }>
> = {
  plain: { source: '<!doctype html><html><body>{{{content}}}</body></html>', isMjml: false },
  styled: {
    source: `<!doctype html><html><head>${STYLES}</head><body><main>{{{content}}}</main>{{> mail/footer}}</body></html>`,
    isMjml: false,
  },
  conditional: {
    source: `<html><head>${STYLES}</head><body>{{#if tenant}}<h1>{{tenant.name}}</h1>{{{content}}}{{/if}}</body></html>`,
    isMjml: false,
  },
  scoped: {
    source: '<html><body>{{#with tenant}}<h1>{{name}}</h1>{{{content}}}{{/with}}</body></html>',
    isMjml: false,
  },
  mjml: {
    source:
      '<mjml><mj-head><mj-title>{{data.page.title}}</mj-title><mj-style inline="inline">.button{color:#fff}</mj-style></mj-head><mj-body>{{{content}}}<mj-section><mj-column><mj-text>{{> mail/footer}}</mj-text></mj-column></mj-section></mj-body></mjml>',
    isMjml: true,
  },
  mjml_text: {
    source:
      '<mjml><mj-body><mj-section><mj-column><mj-text>{{{content}}}</mj-text></mj-column></mj-section></mj-body></mjml>',
    isMjml: true,
  },
}

const list = '<ul class="c">{{#each data.comments}}{{> comment}}{{/each}}</ul>'
const url = '{{vars.app_url}}/pages/{{data.page.id}}'

/** From simple to nested layouts. */
export const cases: readonly GoldenCase[] = [
  { name: 'text', source: 'Hello.' },
  { name: 'value', source: 'Hello {{recipient.name}}.' },
  {
    name: 'value-html',
    kind: 'html',
    source: '<p title="{{recipient.name}}">{{recipient.name}}</p>',
  },
  {
    name: 'value-markdown',
    kind: 'markdown',
    source: '**{{recipient.name}}** wrote {{data.comments.[1].text}}',
  },
  { name: 'value-line', kind: 'line', source: '{{actor.name}}: {{data.comments.[2].text}}' },
  { name: 'value-url', kind: 'url', source: `${url}?q={{recipient.name}}#{{data.cjk}}` },
  { name: 'unset', kind: 'html', source: '<p>{{data.none}}{{data.none.deep}}{{none}}</p>' },
  {
    name: 'blocked-url',
    kind: 'html',
    source: '<a href="{{vars.code}}">x</a><a href="/x?u={{vars.code}}">y</a>',
  },
  {
    name: 'style-value',
    kind: 'html',
    source: '<p style="color: {{vars.colour}}; top: {{vars.code}}">x</p>',
  },
  {
    name: 'comment',
    kind: 'html',
    source: '<p>{{! gone }}{{!-- {{also}} gone --}}x<!-- {{recipient.name}} --></p>',
  },
  {
    name: 'if-else',
    source:
      '{{#if recipient.admin}}admin{{else if actor}}actor{{else}}none{{/if}} {{#unless data.zero}}zero{{/unless}}',
  },
  {
    name: 'each',
    source:
      '{{#each data.comments}}{{@index}}. {{author.name}}: {{text}}{{#unless @last}} | {{/unless}}{{/each}}',
  },
  { name: 'each-else', source: '{{#each data.empty}}x{{else}}nothing{{/each}}' },
  { name: 'each-object', source: '{{#each data.page}}{{@key}}={{this}};{{/each}}' },
  {
    name: 'block-names',
    source: '{{#each data.comments as |comment index|}}{{index}}{{comment.author.name}}{{/each}}',
  },
  { name: 'with', source: '{{#with data.page}}{{title}} of {{../tenant.name}}{{/with}}' },
  { name: 'whitespace', source: 'a\n  {{~#if actor~}}  b  {{~/if~}}\n c' },
  {
    name: 'standalone',
    source: 'List:\n{{#each data.comments}}\n- {{author.name}}\n{{/each}}\nEnd.',
  },
  {
    name: 'comparisons',
    source:
      '{{eq data.zero 0}} {{ne 1 2}} {{gt total_activities 10}} {{lte 2 1}} {{and 1 "x"}} {{or "" "y"}} {{not 0}}',
  },
  { name: 'default', source: '{{default data.none "nobody"}} {{default actor.name "x"}}' },
  {
    name: 'words',
    source:
      '{{upper "ß"}} {{lower "ÀB"}} {{titlecase "new york"}} {{trim "  x "}} {{truncate data.page.title 5}} {{replace "a.b" "." "-"}}',
  },
  {
    name: 'pluralize',
    source: '{{#each data.comments}}{{likes}} {{pluralize likes "like"}}, {{/each}}',
  },
  {
    name: 'dates',
    source:
      '{{date data.page.at}} {{date data.page.at format="full" time="short"}} {{date data.page.due locale="en" format="long"}} {{date data.page.at format="iso"}}',
  },
  {
    name: 'relative',
    source:
      '{{#each data.comments}}{{relative at}}; {{/each}}{{relative data.page.due locale="en"}}',
  },
  {
    name: 'numbers',
    source:
      '{{number 1234567.891}} {{number 0.125 style="percent" decimals=1}} {{number 15300 style="compact" locale="en"}}',
  },
  {
    name: 'currency',
    source:
      '{{currency data.invoice.total "EUR"}} {{currency 1200 "JPY" locale="ja"}} {{currency 5 "USD" locale="en-US" decimals=0}}',
  },
  {
    name: 'arithmetic',
    source: '{{add 1 2}} {{subtract 1 0.9}} {{multiply 1.1 3}} {{divide 10 4}} {{round 3.14159 2}}',
  },
  {
    name: 'lists',
    source:
      '{{join (unique (pluck data.comments "author.name")) " & "}} {{size data.comments}} {{sum data.comments "likes"}} {{lookup (first (sort data.comments "at")) "text"}}',
  },
  {
    name: 'groups',
    source:
      '{{#each (group data.comments "author.name")}}{{key}} ({{size items}}){{#unless @last}}, {{/unless}}{{/each}}',
  },
  {
    name: 'where',
    source:
      '{{#each (where data.comments "likes")}}{{text}};{{/each}} {{size (where data.comments "author.name" "Dan")}}',
  },
  {
    name: 'digests',
    source:
      '{{digest recipient.email hash="md5"}} {{hmac recipient.id key="k" encoding="base64url"}}',
  },
  { name: 'json', source: '{{json data.invoice.lines}} {{json data.none}}' },
  {
    name: 'translate',
    source:
      '{{t "footer" name=tenant.name}} {{t "footer" name="X" tenant="none"}} {{t "hello" name=recipient.name}}',
  },
  {
    name: 'translate-plural',
    kind: 'html',
    source:
      '<p>{{t "count" count=1}}, {{t "count" count=total_activities}}, {{t "count" count=1500 locale="en"}}</p>',
  },
  {
    name: 'markdown-helper',
    kind: 'html',
    source: '{{#each data.comments}}<div>{{markdown text}}</div>{{/each}}',
  },
  {
    name: 'partial',
    kind: 'html',
    source: '{{> button url="https://app.example.com" label=data.page.title}}',
  },
  { name: 'partial-each', kind: 'html', source: list },
  { name: 'partial-recursive', kind: 'html', source: '<ul>{{> node data.tree}}</ul>' },
  { name: 'partial-text', source: '{{#each data.invoice.lines}}{{> line}}\n{{/each}}' },
  {
    name: 'languages',
    kind: 'html',
    source: '<p dir="rtl">{{data.rtl}}</p><p lang="ja">{{data.cjk}}</p>',
  },
  { name: 'mail-plain', source: '<p>Hi {{recipient.name}}</p>', mail: { layout: 'plain' } },
  {
    name: 'mail-own-styles',
    source: `${STYLES}<p>Hi <a class="button" href="${url}">go</a></p>`,
    mail: {},
  },
  {
    name: 'mail-styled',
    source: `<p>Hi {{recipient.name}}</p>${list}{{> button url=vars.app_url label="Open"}}`,
    mail: { layout: 'styled' },
  },
  {
    name: 'mail-conditional',
    source: '<p>{{#if actor}}<b>{{actor.name}}</b>{{else}}<i>Somebody</i>{{/if}} wrote</p>',
    mail: { layout: 'conditional' },
  },
  {
    name: 'mail-scoped',
    source: '<p>{{recipient.name}} of {{tenant.name}}</p>',
    mail: { layout: 'scoped' },
  },
  {
    name: 'mail-table',
    source:
      '<table>{{#each data.invoice.lines}}<tr {{#if @first}}class="small"{{/if}}><td>{{name}}</td><td style="color:{{../vars.colour}}">{{currency price ../data.invoice.currency}}</td></tr>{{/each}}</table>',
    mail: { layout: 'styled' },
  },
  {
    name: 'mjml',
    source:
      '<mj-section><mj-column><mj-text>Hi {{recipient.name}}</mj-text></mj-column></mj-section>',
    mail: { isMjml: true },
  },
  {
    name: 'mjml-loop',
    source: `{{#each data.comments}}<mj-section background-color="{{../vars.colour}}"><mj-column><mj-text><b>{{author.name}}</b> {{text}}</mj-text><mj-button href="{{../vars.app_url}}">Open</mj-button></mj-column></mj-section>{{else}}<mj-raw>none</mj-raw>{{/each}}`,
    mail: { isMjml: true },
  },
  {
    name: 'mjml-layout',
    source: `<mj-section><mj-column><mj-text>{{> button url=vars.app_url label="Open"}}</mj-text></mj-column></mj-section>`,
    mail: { layout: 'mjml', isMjml: true },
  },
  {
    name: 'mjml-html-body',
    source: `<p>Hi {{recipient.name}}</p>${list}`,
    mail: { layout: 'mjml_text' },
  },
]
