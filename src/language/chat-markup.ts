import { parseMarkdown, type MarkdownToken } from './markdown.ts'

/** How one chat writes what Markdown says. */
export interface ChatDialect {
  /** A text, so that nothing in it is read as markup. */
  readonly text: (text: string) => string
  readonly strong: string
  readonly emphasis: string
  readonly strike: string
  /** A text in code, in which only the mark itself is special. */
  readonly code: (text: string) => string
  readonly link: (url: string, text: string) => string
}

/** Slack's `mrkdwn`, in which `&`, `<` and `>` begin all that does something. */
export const slackDialect: ChatDialect = {
  text: escapeSlack,
  strong: '*',
  emphasis: '_',
  strike: '~',
  code: escapeSlack,
  link: (url, text) => `<${escapeSlack(url).replaceAll('|', '%7C')}|${text.replaceAll('|', '¦')}>`,
}

/** Markdown as Discord and Adaptive Cards read it. */
export const markdownDialect: ChatDialect = {
  text: (text) => text.replaceAll(/[\\*_~`|[\]<>#]/g, '\\$&'),
  strong: '**',
  emphasis: '*',
  strike: '~~',
  code: (text) => text,
  link: (url, text) => `[${text}](${url.replaceAll(/[()<>\s]/g, encodeURIComponent)})`,
}

function escapeSlack(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

/** Markdown as the chat writes it. What it has no form for, such as a table, becomes lines of text. */
export function markdownToChat(markdown: string, dialect: ChatDialect): string {
  const writer: Writer = { dialect, blocks: [], lists: [], quotes: 0, heading: false, marker: '' }
  for (const token of parseMarkdown(markdown)) writeBlock(writer, token)
  return joined(writer.blocks)
}

interface Block {
  readonly text: string
  /** Whether it stands close to the block before it. */
  readonly isItem: boolean
}

interface Writer {
  readonly dialect: ChatDialect
  readonly blocks: Block[]
  /** The next number of each list that is open; null in one of bullets. */
  readonly lists: (number | null)[]
  quotes: number
  heading: boolean
  marker: string
}

/** What a piece of Markdown does to the text; pieces that are not named say nothing by themselves. */
const handlers: Readonly<Record<string, (writer: Writer, token: MarkdownToken) => void>> = {
  bullet_list_open: (writer) => writer.lists.push(null),
  ordered_list_open: (writer, token) => writer.lists.push(Number(token.attrGet('start') ?? 1)),
  bullet_list_close: (writer) => writer.lists.pop(),
  ordered_list_close: (writer) => writer.lists.pop(),
  list_item_open: (writer) => (writer.marker = nextMarker(writer)),
  blockquote_open: (writer) => (writer.quotes += 1),
  blockquote_close: (writer) => (writer.quotes -= 1),
  heading_open: (writer) => (writer.heading = true),
  heading_close: (writer) => (writer.heading = false),
  inline: (writer, token) => write(writer, inlineText(writer, token.children ?? [])),
  fence: writeCode,
  code_block: writeCode,
}

function writeBlock(writer: Writer, token: MarkdownToken): void {
  handlers[token.type]?.(writer, token)
}

function writeCode(writer: Writer, { content }: MarkdownToken): void {
  write(writer, `\`\`\`\n${codeText(writer, content.trimEnd())}\n\`\`\``)
}

function nextMarker({ lists }: Writer): string {
  const number = lists.at(-1)
  if (number === null || number === undefined) return '• '
  lists[lists.length - 1] = number + 1
  return `${number}. `
}

function write(writer: Writer, text: string): void {
  if (text === '') return
  const indent = '    '.repeat(Math.max(writer.lists.length - 1, 0))
  const head = `${'> '.repeat(writer.quotes)}${indent}`
  const { strong } = writer.dialect
  const shown = writer.heading ? `${strong}${text}${strong}` : text
  const lines = shown.split('\n')
  const first = `${head}${writer.marker}${lines[0]}`
  writer.marker = ''
  const isItem = writer.lists.length > 0 && writer.blocks.length > 0
  writer.blocks.push({
    text: [first, ...lines.slice(1).map((line) => head + line)].join('\n'),
    isItem,
  })
}

function inlineText({ dialect, heading }: Writer, tokens: readonly MarkdownToken[]): string {
  const marks: Readonly<Record<string, string>> = {
    // A heading is strong as a whole.
    strong: heading ? '' : dialect.strong,
    em: dialect.emphasis,
    s: dialect.strike,
  }
  const links: { readonly url: string; text: string }[] = []
  let text = ''
  const add = (part: string) => {
    const link = links.at(-1)
    if (link) link.text += part
    else text += part
  }
  for (const token of tokens) {
    if (token.type === 'link_open')
      links.push({ url: String(token.attrGet('href') ?? ''), text: '' })
    else if (token.type === 'link_close') {
      const link = links.pop()
      if (link) add(dialect.link(link.url, link.text))
    } else add(spanText(dialect, marks, token))
  }
  return text
}

function spanText(
  dialect: ChatDialect,
  marks: Readonly<Record<string, string>>,
  token: MarkdownToken,
): string {
  if (token.type === 'softbreak' || token.type === 'hardbreak') return '\n'
  if (token.type === 'code_inline') return `\`${dialect.code(token.content.replaceAll('`', "'"))}\``
  if (token.type === 'image') return dialect.text(token.content)
  const mark = marks[token.type.replace(/_(?:open|close)$/, '')]
  return mark ?? dialect.text(token.content)
}

function codeText({ dialect }: Writer, content: string): string {
  return dialect.code(content.replaceAll('```', "'''"))
}

function joined(blocks: readonly Block[]): string {
  return blocks.reduce((all, { text, isItem }) => {
    if (all === '') return text
    return `${all}${isItem ? '\n' : '\n\n'}${text}`
  }, '')
}
