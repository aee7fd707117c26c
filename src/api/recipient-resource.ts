import type { Queryable } from '../db/database.ts'
import type { EnvironmentName } from '../ids.ts'
import { readBodyFields } from '../recipients/fields.ts'
import { channelDataOf, type Recipient, type RecipientRef } from '../recipients/recipient.ts'
import { listRecipients, type RecipientFilter } from '../recipients/list-store.ts'
import { deleteRecipient, findRecipient, upsertRecipients } from '../recipients/store.ts'
import { storeChannelData } from '../runs/channel-data.ts'
import { cutPage, namedCursors, readPage } from './page.ts'
import { resourceMissing } from './reference.ts'
import {
  ANSWERS_NOTHING,
  type MutationRoute,
  NO_CONTENT,
  ok,
  type ReadRequest,
  type ReadRoute,
  type Reply,
} from './route.ts'
import type { Schema } from './shapes/shape.ts'

/** What tells users, objects and tenants apart. */
export interface RecipientResource {
  /** What one is called, as in `there is no user "ann"`. */
  readonly what: string
  /** The same with its article. */
  readonly a: string
  /** How the SDKs call it to write one. */
  readonly verb: 'update' | 'set'
  /** The shape of one in replies. */
  readonly shape: Schema
  /** The path of one of them. */
  readonly path: string
  /** JSON Schemas of fields, beside what is checked wherever a recipient is written. */
  readonly fields: Readonly<Record<string, object>>
  /** Whom a path names; throws a 422 `RequestError` for what cannot be a name. */
  readonly refOf: (params: Readonly<Record<string, string>>) => RecipientRef
  readonly toWire: (recipient: Recipient) => object
  /** What one call shows of one of them, where that depends on the call. */
  readonly show?: Show
  /** JSON Schemas of the query that `show` reads. */
  readonly query?: Readonly<Record<string, object>>
}

/** What a call about one recipient shows of it. */
export type Show = (
  recipient: Recipient,
  call: {
    readonly database: Queryable
    readonly environment: EnvironmentName
    readonly query: Readonly<Record<string, unknown>>
  },
) => Promise<object>

const KEPT_APART = {
  channel_data: { type: ['object', 'null'], description: 'By the id or key of a channel.' },
  preferences: { type: ['object', 'null'], description: 'Sets by their ids.' },
}

/** The calls that show, write and delete one of them. */
export function recipientRoutes(
  resource: RecipientResource,
): readonly [ReadRoute, MutationRoute, MutationRoute] {
  const { what, a, verb, shape, path, fields, refOf, toWire } = resource
  const show: Show = resource.show ?? (async (recipient) => toWire(recipient))
  const query = { type: 'object', properties: resource.query ?? {} }
  const find: ReadRoute = {
    id: `${what}s.get`,
    summary: `Shows ${a}`,
    replies: { 200: shape },
    kind: 'read',
    method: 'GET',
    path,
    scope: 'read',
    environment: 'key',
    query,
    async handle({ database, environment, params, query: asked }) {
      const ref = refOf(params)
      const known = await findRecipient(database, environment, ref)
      if (!known) throw resourceMissing(what, ref.id)
      return ok(await show(known, { database, environment, query: asked }))
    },
  }
  const put: MutationRoute = {
    id: `${what}s.${verb}`,
    summary: `Writes ${a}: properties are merged, null clears`,
    replies: { 200: shape },
    kind: 'mutation',
    method: 'PUT',
    path,
    scope: 'write',
    environment: 'key',
    query,
    body: { type: 'object', properties: { ...fields, ...KEPT_APART } },
    async handle({ tx, environment, params, query: asked, body, now }) {
      const ref = refOf(params)
      const given = body as Readonly<Record<string, unknown>>
      const patch = readBodyFields(ref, given)
      const [written] = await upsertRecipients(tx, environment, [patch], now)
      if (!written) throw resourceMissing(what, ref.id)
      const channelData = channelDataOf(given)
      await storeChannelData(tx, environment, [{ ...ref, channelData, pointer: pointerTo }], now)
      return ok(await show(written, { database: tx, environment, query: asked }))
    },
  }
  const remove: MutationRoute = {
    id: `${what}s.delete`,
    summary: `Deletes ${a}`,
    replies: ANSWERS_NOTHING,
    kind: 'mutation',
    method: 'DELETE',
    path,
    scope: 'write',
    environment: 'key',
    async handle({ tx, environment, params }) {
      await deleteRecipient(tx, environment, refOf(params))
      return NO_CONTENT
    },
  }
  return [find, put, remove]
}

/** Answers one page of a collection, in the order of ids. */
export async function recipientPage(
  { database, environment, query }: ReadRequest,
  filter: RecipientFilter,
  toWire: RecipientResource['toWire'],
): Promise<Reply> {
  const page = readPage(query, namedCursors)
  const limit = page.size + 1
  const found = await listRecipients(database, environment, filter, { ...page, limit })
  const { rows, info } = cutPage(found, page)
  return ok({ entries: rows.map(toWire), page_info: info })
}

function pointerTo(channel: string): string {
  return `/channel_data/${channel}`
}
