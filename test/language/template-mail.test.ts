import { describe, expect, test } from 'vitest'
import {
  checkMail,
  checkTemplate,
  renderMail,
  type MailPart,
} from '../../src/language/templates.ts'

const html = (source: string, name = 'body'): MailPart => ({ source, name, isMjml: false })
const mjml = (source: string, name = 'body'): MailPart => ({ source, name, isMjml: true })

const scope = {
  vars: { colour: '#123456' },
  data: {
    note: '<i>',
    items: [
      { name: 'A & B', url: 'https://example.com/?a=1&b=2' },
      { name: '<script>', url: 'javascript:x' },
    ],
  },
}

function mail(
  body: MailPart | string,
  layout?: MailPart,
  partials: Record<string, string> = {},
): string {
  return renderMail({ body, layout }, { partials, scope })
}

const problems = (source: string) =>
  checkTemplate(source, { kind: 'html', partials: new Set(['foot']), isMjml: true }).map(
    ({ line, column, message }) => `${line}:${column} ${message}`,
  )

describe('styles', () => {
  const layout = html(
    '<html><head><style>p{margin:0}.w .a{color:red}.f{top:0}a:hover{color:blue}</style></head><body><div class="w">{{{content}}}</div></body></html>',
    'layout',
  )

  test('are in the elements of layout, body and partials', () => {
    const made = mail(html('<p class="a">{{data.note}}{{> foot}}</p>'), layout, {
      foot: '<b class="f">x</b>',
    })
    expect(made).toContain(
      '<p class="a" style="margin: 0; color: red;">&lt;i&gt;<b class="f" style="top: 0;">x</b></p>',
    )
    expect(made).toContain('a:hover')
    expect(made).not.toContain('.w .a')
  })

  test('are in a body that is HTML already', () => {
    expect(mail('<p>x</p>', layout)).toContain('<p style="margin: 0;">x</p>')
  })

  test('leave blocks where they are', () => {
    const body = html(
      '<table>{{#each data.items}}<tr {{#if @first}}class="a"{{/if}}><td>{{name}}</td></tr>{{/each}}</table>',
    )
    expect(mail(body, layout)).toContain(
      '<table><tr class="a" ><td>A &amp; B</td></tr><tr ><td>&lt;script&gt;</td></tr></table>',
    )
  })

  test('are left out where elements do not close as they open', () => {
    const body = html('{{#if data.note}}<p>{{else}}<p class="a">{{/if}}x</p>')
    expect(mail(body, layout)).toContain('<div class="w"><p>x</p></div>')
    // Nothing is inlined then, and the style element stays whole.
    expect(mail(body, layout)).toContain('.w .a{color:red}')
  })

  test('a layout whose content stands in a loop renders the body by itself', () => {
    const looped = html(
      '<style>p{top:0}</style>{{#with vars}}<div>{{colour}}{{{content}}}</div>{{/with}}',
      'layout',
    )
    expect(mail(html('<p>{{data.note}}</p>'), looped)).toContain(
      '<div>#123456<p>&lt;i&gt;</p></div>',
    )
    expect(mail(html('<p>{{data.note}}</p>'), looped)).not.toContain('{{')
  })

  test('a faulty value in a layout and a body is blocked as without styles', () => {
    const body = html('{{#each data.items}}<a class="a" href="{{url}}">x</a>{{/each}}')
    const made = mail(body, layout)
    expect(made).toContain('href="https://example.com/?a=1&amp;b=2" style="color: red;"')
    expect(made).toContain('href="#blocked"')
  })
})

describe('MJML', () => {
  const list = [
    '<mj-raw>{{data.note}}</mj-raw>',
    '{{#each data.items}}',
    '<mj-section background-color="{{../vars.colour}}"><mj-column>',
    '<mj-text>{{name}}{{> foot}}</mj-text><mj-button href="{{url}}">Go</mj-button>',
    '</mj-column></mj-section>',
    '{{/each}}',
  ].join('\n')

  test('is compiled with its blocks in their places, and escaped like HTML', () => {
    const made = mail(mjml(list), undefined, { foot: '<b>{{name}}</b>' })
    expect(made).toContain('<!doctype html>')
    expect(made).toContain('A &amp; B<b>A &amp; B</b>')
    expect(made).toContain('&lt;script&gt;<b>&lt;script&gt;</b>')
    expect(made).toContain('href="https://example.com/?a=1&amp;b=2"')
    expect(made).toContain('href="#blocked"')
    expect(made.match(/bgcolor|background-color:#123456/g)?.length).toBeGreaterThan(3)
    expect(made).not.toMatch(/<mj-|\{\{|[\ue000-\uf8ff]|javascript:/)
  })

  test('a part of MJML goes into a layout of MJML, and HTML into its text', () => {
    const layout = mjml(
      '<mjml><mj-head><mj-style inline="inline">.x{color:red}</mj-style></mj-head><mj-body><mj-wrapper>{{{content}}}</mj-wrapper></mj-body></mjml>',
      'layout',
    )
    expect(
      mail(
        mjml(
          '<mj-section><mj-column><mj-text><b class="x">{{data.note}}</b></mj-text></mj-column></mj-section>',
        ),
        layout,
      ),
    ).toContain('<b class="x" style="color: red;">&lt;i&gt;</b>')
    const text = mjml(
      layout.source.replace(
        '{{{content}}}',
        '<mj-section><mj-column><mj-text>{{{content}}}</mj-text></mj-column></mj-section>',
      ),
      'layout',
    )
    expect(mail(html('<b class="x">{{data.note}}</b>'), text)).toContain(
      '<b class="x" style="color: red;">&lt;i&gt;</b>',
    )
    expect(mail('<b class="x">ready</b>', text)).toContain(
      '<b class="x" style="color: red;">ready</b>',
    )
  })

  test('a whole mail stands in no layout', () => {
    const whole = mjml(
      '<mjml><mj-body><mj-section><mj-column><mj-text>Hi</mj-text></mj-column></mj-section></mj-body></mjml>',
    )
    expect(mail(whole, html('<main>{{{content}}}</main>', 'layout'))).not.toContain('<main>')
  })

  test.each([
    [
      '<mj-section>\n<mj-foo/></mj-section>',
      "2:1 Element mj-foo doesn't exist or is not registered",
    ],
    ['<mj-section colour="red"></mj-section>', '1:1 Attribute colour is illegal'],
    [
      '<mj-text>x</mj-text>',
      '1:1 mj-text cannot be used inside mj-body, only inside: mj-attributes, mj-column, mj-hero',
    ],
    [
      '<mj-section>\n\n<mj-column width="{{w}}px"></mj-column></mj-section>',
      '3:19 MJML has no place for {{w}} here',
    ],
    ['<mjml>', '1:1 this is no MJML: its structure is not that of a mail'],
    ['<mj-raw></mj-raw>\n<mj-include path="/etc/passwd"/>', '2:1 files cannot be included'],
    ['<mj-raw>\ue000</mj-raw>', '1:1 MJML cannot hold characters of the private use area'],
    ['<mj-raw>{{uper x}}</mj-raw>', '1:11 there is no helper "uper"'],
    ['<mj-raw><a title={{x}}></a></mj-raw>', '1:18 a value stands inside a tag'],
  ])('%j is refused, with its place', (source, expected) => {
    expect(problems(source)[0]).toContain(expected)
  })

  test('a body that only its layout makes wrong is told', () => {
    const layout = mjml('<mjml><mj-body>{{{content}}}</mj-body></mjml>')
    expect(checkMail(mjml('<mj-section></mj-section>'), layout)).toEqual([])
    expect(checkMail(mjml('<mj-column></mj-column>'), layout)).toMatchObject([
      { code: 'invalid_mjml' },
    ])
  })
})
