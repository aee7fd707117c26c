import MarkdownIt from 'markdown-it'

const SAFE_URL = /^(?:https?:|mailto:|tel:|[^:/?#]*(?:[/?#]|$))/i

let parser: InstanceType<typeof MarkdownIt> | undefined

/** A piece of parsed Markdown. */
export type MarkdownToken = ReturnType<InstanceType<typeof MarkdownIt>['parse']>[number]

/** HTML made from Markdown: no HTML of its own passes, and links lead to web, mail and phone only. */
export function markdownToHtml(markdown: string): string {
  return safeParser().render(markdown).trim()
}

/** The pieces of a Markdown text, for what makes something else than HTML of it. */
export function parseMarkdown(markdown: string): readonly MarkdownToken[] {
  return safeParser().parse(markdown, {})
}

function safeParser(): InstanceType<typeof MarkdownIt> {
  if (!parser) {
    parser = new MarkdownIt({ html: false, linkify: false, typographer: false })
    parser.validateLink = (url: string) => SAFE_URL.test(url.trim())
  }
  return parser
}
