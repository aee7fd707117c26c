import MarkdownIt from 'markdown-it'

const SAFE_URL = /^(?:https?:|mailto:|tel:|[^:/?#]*(?:[/?#]|$))/i

type Parser = InstanceType<typeof MarkdownIt>

let parser: Parser | undefined
let fragments: Parser | undefined

/** A piece of parsed Markdown. */
export type MarkdownToken = ReturnType<Parser['parse']>[number]

/** HTML made from Markdown: no HTML of its own passes, and links lead to web, mail and phone only. */
export function markdownToHtml(markdown: string): string {
  return safeParser().render(markdown).trim()
}

/** The pieces of a Markdown text, for what makes something else than HTML of it. */
export function parseMarkdown(markdown: string): readonly MarkdownToken[] {
  return safeParser().parse(markdown, {})
}

/** As `markdownToHtml`, for Markdown that comes from outside: images are left as text, so that nothing is loaded. */
export function markdownFragment(markdown: string): string {
  fragments ??= makeParser().disable('image')
  return fragments.render(markdown).trim()
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
