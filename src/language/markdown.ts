import MarkdownIt from 'markdown-it'

const SAFE_URL = /^(?:https?:|mailto:|tel:|[^:/?#]*(?:[/?#]|$))/i

let parser: InstanceType<typeof MarkdownIt> | undefined

/** HTML made from Markdown: no HTML of its own passes, and links lead to web, mail and phone only. */
export function markdownToHtml(markdown: string): string {
  if (!parser) {
    parser = new MarkdownIt({ html: false, linkify: false, typographer: false })
    parser.validateLink = (url: string) => SAFE_URL.test(url.trim())
  }
  return parser.render(markdown).trim()
}
