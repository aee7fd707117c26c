import type { EnvironmentName } from '../ids.ts'
import { markMessages } from '../messages/engagement-store.ts'
import type { Happened } from '../messages/engagement.ts'
import { openLink, type LinkKind } from '../messages/links.ts'
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

const nowhere = { content: { 'text/plain': text } }

/** Leads to where a link of a mail went before it was counted. The target stands sealed in the link: it is none but that. */
const follow: OpenRoute = {
  id: 'links.follow',
  summary: 'Leads to where a link of a mail went',
  replies: { 302: null, 404: nowhere },
  kind: 'open',
  method: 'GET',
  path: '/l/:token',
  async handle(request) {
    const [environment, id, url] = partsOf(request, 'click')
    if (environment === undefined || id === undefined || url === undefined) return NOWHERE
    await note(request, { environment, id }, 'link_clicked', { url })
    // As the URL standard writes it: a header holds no other letters than those of ASCII.
    return { status: 302, headers: { ...HEADERS, location: new URL(url).href }, body: '' }
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

function partsOf({ params, services }: OpenRequest, kind: LinkKind): readonly string[] {
  const { token = '' } = params
  return (services.links && openLink(services.links.key, kind, token)) ?? []
}

/** Whoever follows a link is not to pay for what we want to know: it leads on although nothing can be noted. */
async function note(
  { database, now }: OpenRequest,
  { environment, id }: { readonly environment: string; readonly id: string },
  mark: Happened,
  data: Readonly<Record<string, unknown>>,
): Promise<void> {
  const named = { environment: environment as EnvironmentName, ids: [id] }
  try {
    await database.transaction((tx) => markMessages(tx, named, mark, { now, data }))
  } catch {
    // Postgres is away, which is told elsewhere.
  }
}

export const tracking = [follow, open] as const
