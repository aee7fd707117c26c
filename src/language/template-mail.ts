import { inlineStyles, inlineTemplate, stylesOf } from './template-css.ts'
import { CompileFailure, prepare, type Partials } from './template-compile.ts'
import type { TemplateProblem } from './template-kinds.ts'
import { compileMjml, isMjmlDocument } from './template-mjml.ts'
import { parseTemplate } from './template-parse.ts'
import { isLayoutContent } from './template-rewrite.ts'

/** A body or a layout of a mail, as its file has it. */
export interface MailSource {
  readonly source: string
  readonly isMjml: boolean
}

/** One template for a whole mail, made once and rendered many times. */
export interface MailTemplate {
  readonly source: string
  /** Whether `{{{content}}}` still waits for the rendered body. */
  readonly isOpen: boolean
  /** The rules that what is put in later is styled by. */
  readonly css: string
}

/** Made templates kept; beyond it all are forgotten, which happens too seldom to choose among them. */
const MADE_MAX = 500
/** Sets of partials with rules in them, for one set. */
const STYLED_MAX = 50

const CONTENT = /\{\{\{~?\s*content\s*~?\}\}\}/
const NO_LAYOUT = ''
const NO_BODY = '\u0000'

const made = new Map<string, Map<string, MailTemplate>>()
let count = 0

/**
 * The template of a mail: its body in its layout, MJML compiled to HTML, and the rules of style
 * elements in the elements that they select. A layout whose content stands in a loop, and one without
 * a body, stays open: the body is rendered by itself. Throws `CompileFailure`.
 */
export function mailTemplate(
  body: MailSource | undefined,
  layout: MailSource | undefined,
): MailTemplate {
  const outer = layout?.source ?? NO_LAYOUT
  const inner = body?.source ?? NO_BODY
  const known = made.get(outer)?.get(inner)
  if (known) return known
  const template = make(body, layout && (!body || fitsLayout(body, layout)) ? layout : undefined)
  if (count === MADE_MAX) {
    made.clear()
    count = 0
  }
  count += 1
  const ofLayout = made.get(outer)
  if (ofLayout) ofLayout.set(inner, template)
  else made.set(outer, new Map([[inner, template]]))
  return template
}

/** Whether the body goes into the layout: a whole document of MJML goes into none, a part into one of MJML. */
export function fitsLayout(body: MailSource, layout: MailSource): boolean {
  return !body.isMjml || (layout.isMjml && !isMjmlDocument(body.source))
}

/** What is wrong with a body and its layout together: HTML that is in order apart from it stays so. */
export function checkMail(body: MailSource, layout: MailSource): readonly TemplateProblem[] {
  if (!layout.isMjml) return []
  try {
    const { source, isOpen } = mailTemplate(body, layout)
    const { problems } = prepare(source, ANY_HTML)
    if (isOpen && body.isMjml) return [OPEN_MJML]
    return problems.filter(({ code }) => code !== 'unknown_partial').slice(0, 1)
  } catch (error) {
    if (error instanceof CompileFailure) return [error.problem]
    throw error
  }
}

const OPEN_MJML: TemplateProblem = {
  line: 1,
  column: 1,
  code: 'invalid_mjml',
  message: 'a body of MJML cannot stand in a loop of its layout',
}

function make(body: MailSource | undefined, layout: MailSource | undefined): MailTemplate {
  const joined = join(body, layout)
  if (layout?.isMjml || (!layout && body?.isMjml)) {
    const result = compileMjml(joined.source)
    if (!('html' in result)) throw new CompileFailure(result.problems[0])
    return { source: result.html, isOpen: joined.isOpen, css: result.css }
  }
  const css = stylesOf(joined.source)
  const source = inlineTemplate(joined.source)
  // Inlining is a nicety: where the result would not pass the checks that the parts passed, it is left out.
  return { source: isFine(source) ? source : joined.source, isOpen: joined.isOpen, css }
}

function join(
  body: MailSource | undefined,
  layout: MailSource | undefined,
): { readonly source: string; readonly isOpen: boolean } {
  if (!layout) return { source: body?.source ?? '', isOpen: false }
  if (!body) return { source: layout.source, isOpen: true }
  if (!isSteady(layout.source)) return { source: layout.source, isOpen: true }
  const source = layout.source.replace(CONTENT, () => body.source)
  return body.isMjml || layout.isMjml || isFine(source)
    ? { source, isOpen: false }
    : { source: layout.source, isOpen: true }
}

function isFine(source: string): boolean {
  const { problems } = prepare(source, ANY_HTML)
  return problems.every(({ code }) => code === 'unknown_partial')
}

const ANY_HTML = { kind: 'html', partials: new Set<string>(), layout: true, isMade: true } as const

/** Whether the content stands once, and where the scope is that of the whole template. */
function isSteady(layout: string): boolean {
  const { program } = parseTemplate(layout)
  return program !== undefined && contents(program, true) === 1 && contents(program, false) === 1
}

/** How often the content stands; with `everywhere` also where a block changes the scope. */
function contents(program: hbs.AST.Program | undefined, everywhere: boolean): number {
  let found = 0
  for (const node of program?.body ?? []) {
    if (node.type === 'MustacheStatement' && isLayoutContent(node as hbs.AST.MustacheStatement)) {
      found += 1
    } else if (node.type === 'BlockStatement') {
      const { path, program: then, inverse } = node as hbs.AST.BlockStatement
      const keepsScope = path.original === 'if' || path.original === 'unless'
      if (everywhere || keepsScope)
        found += contents(then, everywhere) + contents(inverse, everywhere)
    }
  }
  return found
}

const styled = new WeakMap<Partials, Map<string, Partials>>()

/** The partials with the rules of a mail in their elements. */
export function styledPartials(partials: Partials, css: string): Partials {
  if (css.trim() === '') return partials
  let known = styled.get(partials)
  if (!known) styled.set(partials, (known = new Map()))
  const found = known.get(css)
  if (found) return found
  const result: Record<string, string> = {}
  for (const [name, source] of Object.entries(partials)) {
    const inlined = inlineTemplate(source, css)
    result[name] = isFine(inlined) ? inlined : source
  }
  known.set(css, result)
  if (known.size > STYLED_MAX) known.delete(known.keys().next().value!)
  return result
}

/** Characters of rendered HTML that are styled at each render; what is longer is left as it is. */
const STYLED_CHARACTERS_MAX = 256 * 1024

/** Rendered HTML, such as that of Markdown, with the rules of its layout in its elements. */
export function styledContent(html: string, css: string): string {
  if (css.trim() === '' || html === '' || html.length > STYLED_CHARACTERS_MAX) return html
  // The library takes two braces for a template's, and looks for their end from each of them.
  return inlineStyles(html.replaceAll('{{', '&#123;&#123;'), css)
}

/** What is wrong with a template of MJML as such; nothing where it can be compiled. */
export function mjmlProblems(source: string): readonly TemplateProblem[] {
  const result = compileMjml(source)
  if (!('html' in result)) return result.problems
  const { problems } = prepare(result.html, ANY_HTML)
  const first = problems.find(({ code }) => code !== 'unknown_partial')
  // Places in what was made say nothing about the file.
  return first === undefined ? [] : [{ ...first, line: 1, column: 1 }]
}
