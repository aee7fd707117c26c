import type { EnvironmentName } from '../ids.ts'
import { markMessages } from '../messages/engagement-store.ts'
import type { Happened } from '../messages/engagement.ts'
import { openLink, type LinkKind } from '../messages/links.ts'
import { findShortLink } from '../messages/short-links.ts'
import type { OpenRequest, OpenRoute, Reply } from './route.ts'
import { text } from './shapes/shape.ts'

/** One transparent pixel. */
const PIXEL = Buffer.from('R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7', 'base64')
const HEADERS = {
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'x-robots-tag': 'noindex',
} as const
const NOWHERE: Reply = {
  status: 404,
  type: 'text/plain; charset=utf-8',
  headers: HEADERS,
  body: 'This link leads nowhere.\n',
}
/** To a browser that fetches ahead: it asks again when somebody follows the link, which then counts. */
const NOT_YET: Reply = {
  status: 503,
  type: 'text/plain; charset=utf-8',
  headers: HEADERS,
  body: 'This link is for people.\n',
}

/** Where a link leads, and whose message it stands in. */
interface Target {
  readonly environment: string
  readonly id: string
  readonly url: string
}

const nowhere = { content: { 'text/plain': text } }
const LEADS = { 302: null, 404: nowhere, 503: nowhere }

/** Leads to where a link of a mail went before it was counted. The target stands sealed in the link: it is none but that. */
const follow: OpenRoute = {
  id: 'links.follow',
  summary: 'Leads to where a link of a mail went',
  replies: LEADS,
  kind: 'open',
  method: 'GET',
  path: '/l/:token',
  async handle(request) {
    const [environment, id, url] = partsOf(request, 'click')
    if (environment === undefined || id === undefined || url === undefined) return NOWHERE
    return await lead(request, { environment, id, url })
  },
}

/** The same for the links of text messages, whose targets are stored, since such a link has to be short. */
const followShort: OpenRoute = {
  id: 'links.followShort',
  summary: 'Leads to where a link of a text message went',
  replies: LEADS,
  kind: 'open',
  method: 'GET',
  path: '/s/:code',
  async handle(request) {
    const { params, services, database } = request
    const key = services.links?.key
    const link = key && (await findShortLink(database, key, params['code'] ?? ''))
    if (!link) return NOWHERE
    return await lead(request, { ...link, id: link.message })
  },
}

/** The picture that a mail program loads when a mail is opened. */
const open: OpenRoute = {
  id: 'links.open',
  summary: 'The picture that a mail loads',
  replies: { 200: { content: { 'image/gif': text } }, 404: nowhere },
  kind: 'open',
  method: 'GET',
  path: '/o/:token',
  async handle(request) {
    const [environment, id] = partsOf(request, 'open')
    if (environment === undefined || id === undefined) return NOWHERE
    await note(request, { environment, id }, 'read', { by: 'open_tracking' })
    return { status: 200, type: 'image/gif', headers: HEADERS, body: PIXEL }
  },
}

async function lead(request: OpenRequest, { environment, id, url }: Target): Promise<Reply> {
  if (isAhead(request)) return NOT_YET
  await note(request, { environment, id }, 'link_clicked', { url })
  // As the URL standard writes it: a header holds no other letters than those of ASCII.
  return { status: 302, headers: { ...HEADERS, location: new URL(url).href }, body: '' }
}

function partsOf({ params, services }: OpenRequest, kind: LinkKind): readonly string[] {
  const { token = '' } = params
  return (services.links && openLink(services.links.key, kind, token)) ?? []
}

/** Whoever follows a link is not to pay for what we want to know: it leads on although nothing can be noted. */
async function note(
  request: OpenRequest,
  { environment, id }: { readonly environment: string; readonly id: string },
  mark: Happened,
  data: Readonly<Record<string, unknown>>,
): Promise<void> {
  if (!isVisit(request)) return
  const { database, now } = request
  const named = { environment: environment as EnvironmentName, ids: [id] }
  try {
    await database.transaction((tx) => markMessages(tx, named, mark, { now, data }))
  } catch {
    // Postgres is away, which is told elsewhere.
  }
}

/** Headers in which a browser says that nobody has asked for a page yet: today's, and those of older ones. */
const PURPOSES = ['sec-purpose', 'purpose', 'x-purpose', 'x-moz'] as const

function purposeOf({ headers }: OpenRequest): string {
  return PURPOSES.map((name) => headers[name] ?? '').join(' ')
}

/** Whether a browser fetches what somebody may open next, and would show that without asking again. */
function isAhead(request: OpenRequest): boolean {
  return /\b(?:prefetch|prerender)\b/i.test(purposeOf(request))
}

/** Whether somebody may be behind a request: programs look at a link by HEAD, or for a preview. */
function isVisit(request: OpenRequest): boolean {
  return request.method === 'GET' && !isAhead(request) && !/\bpreview\b/i.test(purposeOf(request))
}

export const tracking = [follow, followShort, open] as const
