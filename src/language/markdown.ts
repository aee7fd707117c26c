import MarkdownIt from 'markdown-it'
import { BudgetExceeded } from './template-budget.ts'

/** Characters of one text. The parser cannot be stopped on its way, and takes longest for marks that open and never close. */
export const MARKDOWN_MAX = 256 * 1024

const SAFE_URL = /^(?:https?:|mailto:|tel:|[^:/?#]*(?:[/?#]|$))/i

type Parser = InstanceType<typeof MarkdownIt>

let parser: Parser | undefined
let fragments: Parser | undefined

/** A piece of parsed Markdown. */
export type MarkdownToken = ReturnType<Parser['parse']>[number]

/** HTML made from Markdown: no HTML of its own passes, and links lead to web, mail and phone only. Throws `BudgetExceeded`. */
export function markdownToHtml(markdown: string): string {
  return safeParser().render(bounded(markdown)).trim()
}

/** The pieces of a Markdown text, for what makes something else than HTML of it. Throws `BudgetExceeded`. */
export function parseMarkdown(markdown: string): readonly MarkdownToken[] {
  return safeParser().parse(bounded(markdown), {})
}

/** As `markdownToHtml`, for Markdown that comes from outside: images are left as text, so that nothing is loaded. Throws `BudgetExceeded`. */
export function markdownFragment(markdown: string): string {
  fragments ??= makeParser().disable('image')
  return fragments.render(bounded(markdown)).trim()
}

function bounded(markdown: string): string {
  if (markdown.length <= MARKDOWN_MAX) return markdown
  throw new BudgetExceeded(
    `the Markdown has ${Math.ceil(markdown.length / 1024)} kB, and may have ${MARKDOWN_MAX / 1024} kB`,
  )
}

function safeParser(): Parser {
  parser ??= makeParser()
  return parser
}

function makeParser(): Parser {
  const made = new MarkdownIt({ html: false, linkify: false, typographer: false })
  made.validateLink = (url: string) => SAFE_URL.test(url.trim())
  return made
}
