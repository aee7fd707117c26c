import { array, assert, constantFrom, oneof, property, string } from 'fast-check'
import { Parser } from 'htmlparser2'
import MarkdownIt from 'markdown-it'
import { expect, test } from 'vitest'
import type { OutputKind } from '../../src/language/templates.ts'
import { checkTemplate, renderText } from '../../src/language/templates.ts'

function render(source: string, kind: OutputKind, x: string): string {
  return renderText(source, {
    kind,
    partials: {},
    scope: { x, y: x, list: [x, x], yes: true },
    name: 'body',
  })
}

function passes(source: string, kind: OutputKind): boolean {
  return checkTemplate(source, { kind, partials: new Set() }).length === 0
}

/** What people who mean harm put into values, in any order. */
const HOSTILE = [
  `<script>¦</script>¦"¦'¦>¦<¦&¦\`¦=¦/¦\\¦-->¦--¦--!>¦<!--¦]]>¦</title>¦</style>¦<b>¦<img src=x onerror=y>`,
  ` onclick=a ¦&lt;¦javascript:¦data:text/html,¦vbscript:¦https://a.b¦mailto:¦:¦//¦?¦#¦&#60;¦&copy;`,
  `\n¦\r\n¦\n\n¦\t¦ ¦    ¦\u0000¦\u0001¦\u00a0¦\u2028¦\ud800¦a¦word¦7¦é¦😀¦www.a.com¦a@b.com¦a.com`,
  `*¦**¦_¦__¦~~¦[a](b)¦![a](b)¦[¦]¦(¦)¦{¦}¦|¦!¦# ¦- ¦+ ¦1. ¦1) ¦> ¦---¦===¦\`\`\`¦~~~¦|-|¦:-:¦* * *`,
  `<a@b.com>¦<https://a.b>¦[a]: b¦//localhost¦http://a¦mailto:a@b`,
].flatMap((line) => line.split('¦'))

const hostile = array(oneof(constantFrom(...HOSTILE), string({ maxLength: 4 })), {
  minLength: 1,
  maxLength: 6,
}).map((parts) => parts.join(''))

/** Fixed, so that a run of the tests says something about the change and not about its luck. */
const SEED = 20_260_301

const BLOCKS = '{{#if yes}}¦{{#if no}}¦{{else}}¦{{/if}}¦{{#each list}}¦{{/each}}'.split('¦')
const VALUES = '{{x}}¦{{x}}¦{{x}}¦{{x}}¦{{x}}¦{{y}}¦{{no}}'.split('¦')

/** Templates out of pieces that matter to a parser, most of them broken. */
function templates(pieces: readonly string[]) {
  return array(constantFrom(...pieces, ...VALUES, ...BLOCKS), { minLength: 2, maxLength: 14 }).map(
    (chosen) => balanced(chosen).join(''),
  )
}

/** Closes the blocks that are open and leaves out what closes none, so that more templates parse. */
function balanced(pieces: readonly string[]): string[] {
  const open: string[] = []
  const kept = pieces.filter((piece) => {
    const name = /^\{\{#(\w+)/.exec(piece)?.[1]
    if (name) open.push(`{{/${name}}}`)
    else if (piece === '{{else}}') return open.at(-1) === '{{/if}}' && open.push('') > 0
    else if (piece.startsWith('{{/')) {
      if (open.at(-1) === '') open.pop()
      if (open.at(-1) !== piece) return false
      open.pop()
    }
    return true
  })
  return [...kept, ...open.toReversed()]
}

interface Shape {
  /** The tags with the names of their attributes, and the comments. */
  readonly shape: string
  readonly attributes: readonly (readonly [name: string, value: string])[]
}

function shapeOf(html: string): Shape {
  const shape: string[] = []
  const attributes: (readonly [string, string])[] = []
  const parser = new Parser({
    onopentag(name, given) {
      shape.push(`<${name} ${Object.keys(given).join(' ')}>`)
      attributes.push(...Object.entries(given))
    },
    onclosetag: (name) => shape.push(`</${name}>`),
    oncomment: () => shape.push('<!-- -->'),
    onprocessinginstruction: (name) => shape.push(`<${name}`),
  })
  parser.end(html)
  return { shape: shape.join(''), attributes }
}

/** The URLs that run code; a browser skips spaces and controls when it looks for the scheme. */
function codeUrls({ attributes }: Shape): readonly string[] {
  return (
    attributes
      .filter(([name]) => name === 'href' || name === 'src')
      // oxlint-disable-next-line no-control-regex -- control characters are what this is about
      .map(([, url]) => url.replace(/[\u0000-\u0020\u007f-\u00a0]/g, ''))
      .filter((url) => /^(?:javascript|vbscript|data):/i.test(url))
  )
}

test('no value breaks out of text, an attribute or a comment of a real template', () => {
  const source = `<!doctype html><title>{{x}}</title><style>p{color:{{x}} }</style>
    <p class="a {{x}}" title='{{x}}'>{{x}} <a href="{{x}}" style="width: {{x}}">{{x}}</a>
    <a href="https://a.b/{{x}}?c={{x}}#{{x}}">x</a> <a href="{{x}}{{y}}">x</a> <a href="{{x}}/b{{x}}">x</a>
    <img src="{{#if x}}{{x}}{{else}}/a{{/if}}" alt="{{x}}"/> <!-- {{x}} --> <textarea>{{x}}</textarea>
    <!--[if mso]><a href="{{x}}">{{x}}</a><![endif]--> <a href="{{#each list}}{{this}}{{/each}}">x</a></p>`
  expect(passes(source, 'html')).toBe(true)
  const expected = shapeOf(render(source, 'html', 'word')).shape
  assert(
    property(hostile, (value) => {
      const found = shapeOf(render(source, 'html', value))
      expect(found.shape).toBe(expected)
      expect(codeUrls(found)).toEqual([])
      const shown = found.attributes.filter(([name]) => name === 'title' || name === 'alt')
      expect(shown.map(([, content]) => content)).toEqual([value, value])
    }),
    { numRuns: 1_000, seed: SEED },
  )
})

const htmlTemplates = templates(
  [
    `<a href="¦<a title='¦<p>¦</p>¦<b class=¦"¦'¦>¦/>¦ ¦<¦/¦=¦<!--¦-->¦--¦-¦!¦<!--[if mso]>¦<![endif]-->`,
    `<title>¦</title>¦</tit¦<style>¦</style>¦<br>¦https://a.b¦:¦?¦#¦&¦&#58;¦java¦script¦a¦ style="¦ alt="`,
    `<img src="¦<img src="¦">¦'>¦<a href="`,
  ].flatMap((line) => line.split('¦')),
)

test('no value changes the shape of any HTML template that passes the check', () => {
  let passed = 0
  assert(
    property(htmlTemplates, hostile, (source, value) => {
      if (!passes(source, 'html')) return
      passed += 1
      const found = shapeOf(render(source, 'html', value))
      const harmless = shapeOf(render(source, 'html', 'word'))
      expect(found.shape).toBe(harmless.shape)
      expect(codeUrls(found).length).toBe(codeUrls(harmless).length)
    }),
    { numRuns: 20_000, seed: SEED },
  )
  expect(passed).toBeGreaterThan(500)
})

const markdown = new MarkdownIt({ html: false })
const linking = new MarkdownIt({ html: false, linkify: true })

function tagsOf(source: string, value: string): Map<string, number> {
  const counts = new Map<string, number>()
  // Paragraphs and an author's own line breaks do not count: both are left where a link is none.
  // Text right beside an author's own bare address decides whether it is one.
  const parser = /:|\.|\/\//.test(source) ? markdown : linking
  const { shape } = shapeOf(parser.render(render(source, 'markdown', value)))
  for (const [tag] of shape.matchAll(/<(?!(?:p|br)\b)\w+/g))
    counts.set(tag, (counts.get(tag) ?? 0) + 1)
  return counts
}

/**
 * A value has no markup of its own. Whether the author's marks right beside a value act can depend
 * on whether it is empty or a number, and begins and ends with a letter or a sign, so each is tried.
 */
function expectNoMoreTags(source: string, value: string): void {
  const harmless = ['word', '7', '', '(a', 'a(', '(a('].map((word) => tagsOf(source, word))
  for (const [tag, count] of tagsOf(source, value)) {
    const most = Math.max(...harmless.map((tags) => tags.get(tag) ?? 0))
    expect(count <= most ? '' : tag).toBe('')
  }
}

test('no value adds markup to a real Markdown template', () => {
  const source = `# {{x}}\n\nHi **{{x}}**, _{{x}}_ {{x}}{{y}}\n{{x}}\n\n- {{x}}\n1. {{x}}\n\n> {{x}}\n
[{{x}}]({{x}}) [a](https://a.b/{{x}}?c={{x}} "{{x}}") \`{{x}}\` ![{{x}}](/a/{{x}})\n
| a | {{x}} |\n|---|---|\n| {{x}} | b |\n\n\`\`\`\n{{x}}\n\`\`\`\n\n{{x}}`
  expect(passes(source, 'markdown')).toBe(true)
  assert(
    property(hostile, (value) => expectNoMoreTags(source, value)),
    { numRuns: 300, seed: SEED },
  )
})

const markdownTemplates = templates(
  [
    'a¦b c¦ ¦\n¦\n¦\n\n¦`¦``¦\n```\n¦\n~~~\n¦*¦**¦_¦~~¦\\¦[¦](¦)¦[a](¦![¦# ¦- ¦1. ¦> ¦    ¦"¦ "a"¦<¦>¦|',
    '\n|-|-|\n¦https://a.b/¦www.¦.com¦:¦/¦!¦#¦-¦=¦\n---\n¦[a]: ¦1¦&¦;',
  ].flatMap((line) => line.split('¦')),
)

test('no value adds markup to any Markdown template that passes the check', () => {
  let passed = 0
  assert(
    property(markdownTemplates, hostile, (source, value) => {
      if (!passes(source, 'markdown')) return
      passed += 1
      expectNoMoreTags(source, value)
    }),
    { numRuns: 6_000, seed: SEED },
  )
  expect(passed).toBeGreaterThan(3_000)
})
