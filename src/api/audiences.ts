import type { Queryable } from '../db/database.ts'
import { RequestError } from '../errors.ts'
import { isKey } from '../ids.ts'
import {
  isAudienceKept,
  keepAudience,
  listAudienceWorkflows,
  listMembers,
  removeMembers,
  type AudienceRef,
  type Member,
  type Membership,
} from '../recipients/audience-store.ts'
import { invalid, TENANTS, USERS, userToWire } from '../recipients/recipient.ts'
import { loadRecipients } from '../recipients/store.ts'
import { joinAudience } from '../runs/audience.ts'
import { storeInline } from '../runs/channel-data.ts'
import { BodyReader } from '../runs/trigger-request.ts'
import { cutPage, pageQuery, readPage } from './page.ts'
import { resourceMissing } from './reference.ts'
import { ANSWERS_NOTHING, type MutationRoute, NO_CONTENT, ok, type ReadRoute } from './route.ts'
import { AudienceMember, RecipientRequest, TenantRequest } from './shapes/recipients.ts'
import { pageShape } from './shapes/shape.ts'

/** Added or removed in one call. */
const MEMBERS_MAX = 1_000

const PATH = '/v1/audiences/:key/members'

const membersBody = {
  type: 'object',
  required: ['members'],
  properties: {
    members: {
      type: 'array',
      minItems: 1,
      maxItems: MEMBERS_MAX,
      items: {
        type: 'object',
        required: ['user'],
        properties: { user: RecipientRequest, tenant: TenantRequest },
      },
    },
  },
} as const

interface MembersBody {
  readonly members: readonly { readonly user: unknown; readonly tenant?: string | null }[]
}

const add: MutationRoute = {
  id: 'audiences.addMembers',
  summary: 'Adds members to an audience',
  replies: ANSWERS_NOTHING,
  kind: 'mutation',
  method: 'POST',
  path: PATH,
  scope: 'write',
  environment: 'key',
  query: {
    type: 'object',
    properties: {
      create_audience: {
        type: 'boolean',
        description: 'Whether one that is not there is made; true unless told.',
      },
    },
  },
  body: membersBody,
  async handle({ tx, environment, params, query, body, now, services: { queue } }) {
    const ref = { environment, audience: keyOf(params) }
    const { audience } = ref
    if (query['create_audience'] === false) await requireAudience(tx, ref)
    const reader = new BodyReader()
    const members = readMembers(reader, body as MembersBody)
    await storeInline(tx, environment, reader.entities(), now)
    await keepAudience(tx, ref, now)
    await joinAudience(tx, { queue, environment, now }, { audience, members })
    return NO_CONTENT
  },
}

const remove: MutationRoute = {
  id: 'audiences.removeMembers',
  summary: 'Takes members out of an audience',
  replies: ANSWERS_NOTHING,
  kind: 'mutation',
  method: 'DELETE',
  path: PATH,
  scope: 'write',
  environment: 'key',
  body: membersBody,
  async handle({ tx, environment, params, body }) {
    const ref = { environment, audience: keyOf(params) }
    await requireAudience(tx, ref)
    // What is said inline of a user who leaves is not kept.
    await removeMembers(tx, ref, readMembers(new BodyReader(), body as MembersBody))
    return NO_CONTENT
  },
}

/** The memberships that a body names, each once. Throws a 422 `RequestError` that lists what is wrong. */
function readMembers(reader: BodyReader, { members }: MembersBody): readonly Membership[] {
  const named = new Map<string, Membership>()
  for (const [index, { user, tenant }] of members.entries()) {
    const at = `/members/${index}`
    const found = reader.entity(`${at}/user`, user)
    const of = tenant == null ? undefined : reader.entity(`${at}/tenant`, tenant, TENANTS)
    if (!found) continue
    if (found.collection !== USERS) reader.refuse(`${at}/user/collection`, 'is not for a user')
    reader.keep({ collection: USERS, id: found.id, properties: {} })
    if (of) reader.keep({ collection: TENANTS, id: of.id, properties: {} })
    named.set(`${found.id}/${of?.id ?? ''}`, { user: found.id, tenant: of?.id ?? null })
  }
  const [first] = reader.violations
  if (!first) return [...named.values()]
  const message = `${first.field} ${first.message}`
  throw new RequestError(422, 'invalid_params', message, reader.violations)
}

const list: ReadRoute = {
  id: 'audiences.listMembers',
  summary: 'Lists the members of an audience',
  replies: { 200: pageShape('entries', AudienceMember) },
  kind: 'read',
  method: 'GET',
  path: PATH,
  scope: 'read',
  environment: 'key',
  query: { type: 'object', properties: pageQuery },
  async handle({ database, environment, params, query }) {
    const ref = { environment, audience: keyOf(params) }
    await requireAudience(database, ref)
    const page = readPage(query)
    const found = await listMembers(database, ref, { ...page, limit: page.size + 1 })
    const { rows, info } = cutPage(found, page)
    return ok({ entries: await toWire(database, ref, rows), page_info: info })
  },
}

function keyOf({ key = '' }: Readonly<Record<string, string>>): string {
  if (isKey(key)) return key
  throw invalid('path', 'is not the key of an audience: 2 to 255 of a-z, 0-9, "_" and "-"')
}

/** Throws a 404 `RequestError` where nobody was ever added, and no workflow names it. */
async function requireAudience(db: Queryable, ref: AudienceRef): Promise<void> {
  if (await isAudienceKept(db, ref)) return
  const workflows = await listAudienceWorkflows(db, ref)
  if (workflows.length === 0) throw resourceMissing('audience', ref.audience)
}

/** Members in the contract's shape, with each user in full. */
async function toWire(
  db: Queryable,
  { environment }: AudienceRef,
  members: readonly Member[],
): Promise<readonly object[]> {
  const refs = members.map(({ user }) => ({ collection: USERS, id: user }))
  const users = new Map(
    (await loadRecipients(db, environment, refs)).map((user) => [user.id, user]),
  )
  return members.flatMap(({ user: id, tenant, addedAt }) => {
    const user = users.get(id)
    // Deleted since the list was read.
    if (!user) return []
    return [
      {
        __typename: 'AudienceMember',
        user_id: id,
        user: userToWire(user),
        tenant,
        added_at: addedAt,
      },
    ]
  })
}

export const audiences = [add, remove, list] as const
