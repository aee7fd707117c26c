import type http from 'node:http'
import type { TakenRequest } from '../support/http.ts'

/** With whom a mail server is spoken to: the password alone is what is looked for in a login. */
export const SMTP_USER = 'mailer/user+7@example.com'

/** All the ways in which one value may stand in a text. */
function formsOf(secret: string): string[] {
  const base64 = Buffer.from(secret).toString('base64')
  const login = Buffer.from(`\0${SMTP_USER}\0${secret}`).toString('base64')
  const json = JSON.stringify(secret).slice(1, -1)
  const forms = [
    secret,
    json,
    JSON.stringify(json).slice(1, -1),
    encodeURIComponent(secret),
    encodeURIComponent(secret).toLowerCase(),
    new URLSearchParams({ s: secret }).toString().slice(2),
    escapeHtml(secret),
    base64.replace(/=+$/, ''),
    Buffer.from(secret).toString('base64url'),
    // The part of a login that only the password decides.
    login.slice(-Math.floor(Buffer.byteLength(secret) / 3) * 4).replace(/=+$/, ''),
  ]
  return [...new Set(forms)]
}

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (mark) => `&#${mark.charCodeAt(0)};`)
}

/** The secrets that stand in a text, in whatever form. */
export function found(text: string, secrets: readonly string[]): string[] {
  const folded = text.toLowerCase()
  return secrets.flatMap(formsOf).filter((form) => folded.includes(form.toLowerCase()))
}

/** Answers with all that came, escaped in every way that servers do. */
export function echo(request: TakenRequest, response: http.ServerResponse): void {
  const raw = `${request.path}\n${JSON.stringify(request.headers)}\n${request.body}`
  const decoded = decodeURIComponent(request.path)
  const { values = [] } = parsed(request.body)
  const all = [raw, decoded, String(request.headers['x-token']), ...values]
  const status = Number(request.headers['x-answer'] ?? 200)
  response.setHeader('x-echo', encodeURIComponent(String(request.headers['x-token'])))
  response.setHeader(`x-echo-${Buffer.from(values[0] ?? '').toString('hex')}`, 'hex')
  if (status >= 300 && status < 400)
    response.setHeader('location', `http://127.0.0.1${request.path}`)
  const isJson = request.headers['x-json'] !== undefined
  response.writeHead(status, { 'content-type': isJson ? 'application/json' : 'text/html' })
  if (isJson) return void response.end(JSON.stringify({ all, nested: JSON.stringify(all) }))
  const escaped = all.map(escapeHtml)
  const base64 = all.map((text) => Buffer.from(text).toString('base64'))
  response.end(JSON.stringify([all, escaped, base64, all.map(encodeURIComponent)]).slice(1))
}

function parsed(body: string): { values?: readonly string[] } {
  try {
    return JSON.parse(body)
  } catch {
    return {}
  }
}
