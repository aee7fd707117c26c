import type { PreviewedMessage } from '../workflow/preview.ts'
import type { FilePreview } from './preview-files.ts'

/** What a page may do. Nothing of a message runs or is asked for: it stands in a frame of its own. */
export const PAGE_POLICY = [
  "default-src 'none'",
  "style-src 'unsafe-inline'",
  "script-src 'self'",
  "connect-src 'self'",
  "frame-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

/** What a message may do in its frame: be shown, with images. */
export const MESSAGE_POLICY = [
  'sandbox',
  "default-src 'none'",
  "style-src 'unsafe-inline'",
  'img-src https: data:',
  'font-src https: data:',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'self'",
].join('; ')

/** Looks for changes, and shows the page anew where there are some. */
export const PAGE_SCRIPT = `new EventSource('/changes').onmessage = () => location.reload()\n`

const STYLE = `body{margin:0;font:15px/1.5 system-ui,sans-serif;color:#18181b;background:#f4f4f5}
main{max-width:860px;margin:0 auto;padding:24px}h1{font-size:20px}h2{font-size:16px;margin:0 0 8px}
section{background:#fff;border:1px solid #e4e4e7;border-radius:8px;padding:16px;margin:16px 0}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 16px;margin:0 0 12px}dt{color:#71717a}dd{margin:0;overflow-wrap:anywhere}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#fafafa;padding:12px;border-radius:6px;margin:8px 0}
iframe{width:100%;height:640px;resize:vertical;border:1px solid #e4e4e7;border-radius:6px;background:#fff}iframe.small{height:140px}
main:has(#narrow:checked) iframe{width:375px;max-width:100%}label{color:#71717a;float:right}
.error{color:#b91c1c}.warning{color:#a16207}nav a{margin-right:12px}@media(prefers-color-scheme:dark){body{background:#18181b;color:#f4f4f5}section{background:#27272a;border-color:#3f3f46}pre{background:#18181b}a{color:#93c5fd}}`

/** The page that shows a preview; `query` chooses a message's frame, `sample=…`. */
export function previewPage(found: FilePreview): string {
  const { workflow, sample, samples, messages, diagnostics } = found
  const links = samples.map((name) => {
    const label = name === sample ? `<b>${escape(name)}</b>` : escape(name)
    return `<a href="/?sample=${encodeURIComponent(name)}">${label}</a>`
  })
  const problems = diagnostics.map(
    (one) =>
      `<p class="${one.severity}">${escape(`${one.path}:${one.line}:${one.column} ${one.message}`)}</p>`,
  )
  const sections = messages.map((message) => section(message, sample))
  return document(
    workflow,
    `<label><input type="checkbox" id="narrow"> as on a phone</label><h1>${escape(workflow)}</h1>
<nav>${links.join('')}</nav>
${problems.join('\n')}
${sections.join('\n')}`,
  )
}

/** A page that says why there is no preview. */
export function problemPage(message: string): string {
  return document('Preview', `<h1>No preview</h1><p class="error">${escape(message)}</p>`)
}

function document(title: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escape(title)}</title>
<style>${STYLE}</style><script src="/page.js" defer></script></head>
<body><main>${body}</main></body>
</html>
`
}

function section(message: PreviewedMessage, sample: string | null): string {
  const { step, channel, content, diagnostics } = message
  const problems = diagnostics.map((one) => `<p class="${one.severity}">${escape(one.message)}</p>`)
  const by = channel.key === null ? channel.type : `${channel.type} by ${channel.key}`
  const fields = Object.entries(shownOf(content)).flatMap(([name, value]) => field(name, value))
  const chosen = sample === null ? '' : `&amp;sample=${encodeURIComponent(sample)}`
  const size = content?.type === 'email' ? '' : ' class="small"'
  const frame =
    messageHtml(message) === undefined
      ? ''
      : `<iframe${size} sandbox title="${escape(step)}" src="/message?step=${encodeURIComponent(step)}${chosen}"></iframe>`
  const text =
    content?.type === 'email'
      ? `<details><summary>text</summary><pre>${escape(content.text)}</pre></details>`
      : ''
  return `<section><h2>${escape(step)} · ${escape(by)}</h2>${problems.join('')}<dl>${fields.join('')}</dl>${frame}${text}</section>`
}

/** What of a message is HTML; undefined where nothing is. */
export function messageHtml({ content }: PreviewedMessage): string | undefined {
  if (content?.type === 'email') return content.html
  return content?.type === 'in_app'
    ? `<body style="${FEED_STYLE}">${content.body.rendered}`
    : undefined
}

/** An item of a feed is a part of some page, whose letters it has. */
const FEED_STYLE = 'margin:12px;font:15px/1.5 system-ui,sans-serif;color:#18181b'

/** What of a message is shown beside its frame. */
export function shownOf(content: PreviewedMessage['content']): object {
  if (content?.type !== 'in_app') return content ?? {}
  const { body, buttons, ...rest } = content
  const actions = buttons.map(({ label, action }) => `${label} → ${action}`).join('\n')
  return { ...rest, body: body.content.trim(), buttons: actions }
}

const ELSEWHERE = new Set(['type', 'html', 'text', 'secrets'])

function field(name: string, value: unknown): readonly string[] {
  const isEmpty =
    value === null || value === '' || (typeof value === 'object' && Object.keys(value).length === 0)
  if (ELSEWHERE.has(name) || isEmpty) return []
  const text = typeof value === 'string' ? value : JSON.stringify(value, undefined, 2)
  const shown = text.includes('\n') ? `<pre>${escape(text)}</pre>` : escape(text)
  return [`<dt>${escape(name)}</dt><dd>${shown}</dd>`]
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (mark) => `&#${mark.charCodeAt(0)};`)
}
