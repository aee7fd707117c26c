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
  NO_CONTENT,
  ok,
  type MutationRoute,
  type ReadRequest,
  type ReadRoute,
  type Reply,
} from './route.ts'

/** What tells users, objects and tenants apart. */
export interface RecipientResource {
  /** What one is called, as in `there is no user "ann"`. */
  readonly what: string
  /** The path of one of them. */
  readonly path: string
  /** JSON Schemas of fields, beside what is checked wherever a recipient is written. */
  readonly fields?: Readonly<Record<string, object>>
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

/** The calls that show, write and delete one of them. */
export function recipientRoutes(
  resource: RecipientResource,
): readonly [ReadRoute, MutationRoute, MutationRoute] {
  const { what, path, fields = {}, refOf, toWire } = resource
  const show: Show = resource.show ?? (async (recipient) => toWire(recipient))
  const query = { type: 'object', properties: resource.query ?? {} }
  const find: ReadRoute = {
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
    kind: 'mutation',
    method: 'PUT',
    path,
    scope: 'write',
    environment: 'key',
    query,
    body: { type: 'object', properties: fields },
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
