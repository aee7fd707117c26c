import { createHash } from 'node:crypto'
import type { EnvironmentName } from '../ids.ts'
import { DEFAULT_SET } from '../language/preferences.ts'
import { openLink } from '../messages/links.ts'
import { loadPreferences } from '../recipients/preference-store.ts'
import type { RecipientRef } from '../recipients/recipient.ts'
import { findRecipient, upsertRecipients } from '../recipients/store.ts'
import type { Queryable, Transaction } from '../db/database.ts'
import type { OpenRoute, Reply, SignedRoute } from './route.ts'
import type { ApiServices } from './services.ts'

/** What a form of the page, or of a mail program, is at most. */
const BOUNDS = { bytesMax: 4_096, msMax: 10_000 }
const PATH = '/unsubscribe/:token'

const STYLE =
  'body{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:15vh auto 0;padding:0 1.5rem;color:#1c1c1c;background:#fff}' +
  'h1{font-size:1.4rem}button{font:inherit;padding:.6rem 1.2rem;border:0;border-radius:.4rem;color:#fff;background:#1a4fa3;cursor:pointer}' +
  'button:focus-visible{outline:3px solid #7aa7f0}@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}}'

const HEADERS = {
  'content-security-policy':
    `default-src 'none'; style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'; ` +
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-robots-tag': 'noindex',
} as const

const html = { content: { 'text/html': { type: 'string' } } }
const PAGES = { 200: html, 404: html }

/** Shows what the link is for, and changes nothing: programs that look at links open it, too. */
const show: OpenRoute = {
  id: 'unsubscribe.show',
  summary: 'Shows what an unsubscribe link is for',
  replies: PAGES,
  kind: 'open',
  method: 'GET',
  path: PATH,
  async handle({ params, database, services }) {
    const reader = readerOf(params, services)
    if (!reader) return page(404, 'This link leads nowhere', 'It may have been cut off.')
    return answer(await isUnsubscribed(database, reader))
  },
}

/**
 * Unsubscribes the reader from commercial messages, as often as it is asked: a mail program asks with one click and
 * no more (RFC 8058). The page's other button takes it back.
 */
const act: SignedRoute = {
  id: 'unsubscribe.act',
  summary: 'Unsubscribes, or takes it back',
  replies: PAGES,
  kind: 'signed',
  method: 'POST',
  path: PATH,
  bounds: BOUNDS,
  reads: ['application/x-www-form-urlencoded'],
  async handle({ params, readBody, database, services, now }) {
    const reader = readerOf(params, services)
    if (!reader) return page(404, 'This link leads nowhere', 'It may have been cut off.')
    const form = new URLSearchParams((await readBody()).toString())
    const isSubscribed = form.get('action') === 'subscribe'
    await database.transaction((tx) => subscribe(tx, reader, isSubscribed, now))
    return answer(!isSubscribed)
  },
}

interface Reader extends RecipientRef {
  readonly environment: EnvironmentName
}

function readerOf(
  { token = '' }: Readonly<Record<string, string>>,
  { links }: ApiServices,
): Reader | undefined {
  const [environment, collection, id] = (links && openLink(links.key, 'unsubscribe', token)) ?? []
  if (environment === undefined || collection === undefined || id === undefined) return undefined
  return { environment: environment as EnvironmentName, collection, id }
}

async function isUnsubscribed(db: Queryable, reader: Reader): Promise<boolean> {
  const named = [{ collection: reader.collection, id: reader.id, set: DEFAULT_SET }]
  const [set] = await loadPreferences(db, reader.environment, named)
  return set?.settings.commercial_subscribed === false
}

/** One who is gone is not made again: nothing is sent to them anyway. */
async function subscribe(
  tx: Transaction,
  { environment, ...ref }: Reader,
  isSubscribed: boolean,
  now: Date,
): Promise<void> {
  if (!(await findRecipient(tx, environment, ref))) return
  const settings = { commercial_subscribed: isSubscribed }
  const preferences = [{ set: DEFAULT_SET, settings, mode: 'merge' as const }]
  await upsertRecipients(tx, environment, [{ ...ref, properties: {}, preferences }], now)
}

function answer(unsubscribed: boolean): Reply {
  if (unsubscribed) {
    const text = 'You do not get news and offers from this sender any more.'
    return page(200, 'You are unsubscribed', text, {
      action: 'subscribe',
      label: 'Subscribe again',
    })
  }
  const text =
    'You get news and offers from this sender. Messages about your account are sent in any case.'
  return page(200, 'Unsubscribe?', text, { action: 'unsubscribe', label: 'Unsubscribe' })
}

interface Button {
  readonly action: 'subscribe' | 'unsubscribe'
  readonly label: string
}

/** Nothing on it comes from outside, and it names nobody. */
function page(status: number, title: string, text: string, button?: Button): Reply {
  const form = button
    ? `<form method="post"><input type="hidden" name="action" value="${button.action}"><button>${button.label}</button></form>`
    : ''
  const body =
    `<!doctype html><html lang="en"><head><meta charset="utf-8">` +
    `<meta name="viewport" content="width=device-width,initial-scale=1"><title>${title}</title>` +
    `<style>${STYLE}</style></head><body><main><h1>${title}</h1><p>${text}</p>${form}</main></body></html>`
  return { status, type: 'text/html; charset=utf-8', headers: HEADERS, body }
}

export const unsubscribe = [show, act] as const
