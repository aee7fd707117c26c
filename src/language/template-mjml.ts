import { createRequire } from 'node:module'
import { messageOf } from '../errors.ts'
import { inlineStyles } from './template-css.ts'
import type { TemplateProblem } from './template-kinds.ts'
import { hasMark, lostTag, mark, unmark, wrapMarks, type Marked } from './template-marks.ts'
import { positionOf } from './template-parse.ts'

/** HTML made from MJML, both templates; or what is wrong. */
export type MjmlResult =
  | {
      readonly html: string
      /** Rules for what is put in later: those of `<mj-style inline="inline">`. */
      readonly css: string
      readonly problems: readonly []
    }
  | { readonly problems: readonly [TemplateProblem, ...TemplateProblem[]] }

interface Node {
  readonly tagName: string
  readonly children?: readonly Node[]
}

interface Complaint {
  readonly line: number
  readonly message: string
}

interface Skeleton {
  readonly inlineStyle: readonly string[]
}

/** What is used of the library. */
interface Mjml {
  readonly components: Readonly<Record<string, { readonly endingTag?: boolean }>>
  readonly parse: (text: string, options: object) => Node
  readonly validate: (tree: Node, options: object) => readonly Complaint[]
  /** Async only where it makes the HTML smaller: the skeleton is called before it first waits. */
  readonly render: (tree: Node, options: object) => Promise<unknown>
  readonly skeleton: (parts: Skeleton) => string
  readonly mergeConditionals: (html: string) => string
  readonly dependencies: object
  readonly initializeType: unknown
}

let library: Mjml | undefined

/** A third of a second, so only where there is an MJML template. */
function load(): Mjml {
  if (library) return library
  const require = createRequire(import.meta.url)
  const part = (name: string) => require(name) as Record<string, unknown>
  // Registers the elements. Its parts are found from where it is, wherever a package manager puts them.
  part('mjml')
  const ofMjml = createRequire(require.resolve('mjml'))
  const ofCore = createRequire(ofMjml.resolve('mjml-core'))
  const inner = (name: string) => ofCore(name) as Record<string, unknown>
  const [core, parser, validator] = ['./index.js', 'mjml-parser-xml', 'mjml-validator'].map(inner)
  library = {
    components: core!['components'],
    initializeType: core!['initializeType'],
    render: core!['default'],
    parse: parser!['default'] ?? parser,
    validate: validator!['default'],
    dependencies: validator!['dependencies'],
    skeleton: inner('./helpers/skeleton'),
    mergeConditionals: inner('./helpers/mergeOutlookConditionnals'),
  } as unknown as Mjml
  return library
}

/** Whether the MJML is a whole document, and no part of one. */
export function isMjmlDocument(text: string): boolean {
  return /<mjml[\s>]/i.test(text)
}

/**
 * Compiles a template of MJML, once for all renders: its tags pass through in their places. Those
 * between elements, such as a loop around sections, are put into `<mj-raw>`. What is no whole document
 * becomes the body of one.
 */
export function compileMjml(source: string): MjmlResult {
  const marked = mark(source)
  if (!marked) return failed(source, 0, 'MJML cannot hold characters of the private use area')
  const whole = isMjmlDocument(source)
    ? marked.text
    : `<mjml><mj-body>${marked.text}</mj-body></mjml>`
  const include = source.search(/<mj-include\b/i)
  if (include >= 0) {
    return failed(source, include, 'files cannot be included', 'use a partial: {{> name}}')
  }
  try {
    return compileMarked(source, { ...marked, text: wrapStructure(whole) })
  } catch (error) {
    return failed(source, 0, `this is no MJML: ${messageOf(error)}`)
  }
}

function compileMarked(source: string, marked: Marked): MjmlResult {
  const { parse, validate, components, dependencies, initializeType } = load()
  const options = { components, keepComments: true, ignoreIncludes: true, preprocessors: [] }
  const tree = parse(marked.text, { ...options, filePath: '.', actualPath: '.' })
  const complaints = validate(tree, { components, dependencies, initializeType })
  // A value is known when the mail is rendered; the library takes the mark for it.
  const complaint = complaints.find(({ message }) => !hasMark(message))
  if (complaint) {
    const line = lineIn(source, marked, complaint.line)
    return { problems: [problemAt({ line, column: 1 }, complaint.message)] }
  }
  const { html, css } = render(tree)
  const lost = lostTag(marked, html)
  if (lost) {
    return failed(
      source,
      lost.offset,
      `MJML has no place for ${lost.source.slice(0, 60)} here`,
      'put it into the text of an element, or around whole elements',
    )
  }
  return { html: unmark(marked, html), css: unmark(marked, css), problems: [] }
}

function render(tree: Node): { readonly html: string; readonly css: string } {
  const { render: run, skeleton, mergeConditionals } = load()
  let made: { html: string; css: string } | undefined
  let reason: unknown
  const frame = (parts: Skeleton): string => {
    made = { html: skeleton({ ...parts, inlineStyle: [] }), css: parts.inlineStyle.join('\n') }
    return made.html
  }
  run(tree, { validationLevel: 'skip', skeleton: frame, fonts: {} }).catch((error: unknown) => {
    reason = error
  })
  if (!made) throw new Error(messageOf(reason ?? 'its structure is not that of a mail'))
  const { css } = made
  const html = css.trim() === '' ? made.html : inlineStyles(made.html, css)
  return { html: mergeConditionals(html), css }
}

const ELEMENT = /<!--[\s\S]*?-->|<(\/?)([a-z][\w-]*)((?:"[^"]*"|'[^']*'|[^'">])*)>/gi

/** Puts the marks between elements, where only elements may stand, into `<mj-raw>`. */
function wrapStructure(text: string): string {
  const { components } = load()
  let made = ''
  let at = 0
  /** The element whose content is HTML; empty between elements. */
  let content = ''
  for (const { 0: tag, 1: slash, 2: name = '', 3: rest = '', index } of text.matchAll(ELEMENT)) {
    const between = text.slice(at, index)
    made += (content === '' ? wrapMarks(between, '<mj-raw>', '</mj-raw>') : between) + tag
    at = index + tag.length
    if (content !== '') {
      if (slash !== '' && name === content) content = ''
    } else if (slash === '' && components[name]?.endingTag && !rest.endsWith('/')) content = name
  }
  return made + text.slice(at)
}

/** The line of the source that a line of the marked text is; comments and tags may have had more lines. */
function lineIn(source: string, { text, tags }: Marked, line: number): number {
  const before = text
    .split('\n')
    .slice(0, line - 1)
    .join('\n')
  const last = before.lastIndexOf('\ue000')
  if (last < 0) return Math.min(line, source.split('\n').length)
  const index = Number.parseInt(before.slice(last + 1), 10)
  const tag = tags[index]
  if (!tag) return line
  const from = positionOf(source, tag.offset + tag.source.length).line
  return from + before.slice(last).split('\n').length
}

function failed(source: string, offset: number, message: string, hint?: string): MjmlResult {
  return { problems: [problemAt(positionOf(source, offset), message, hint)] }
}

function problemAt(
  at: { readonly line: number; readonly column: number },
  message: string,
  hint?: string,
): TemplateProblem {
  return { ...at, code: 'invalid_mjml', message, ...(hint !== undefined && { hint }) }
}
