import type { Queryable } from '../db/database.ts'
import { channelId, type ChannelKey, type EnvironmentName } from '../ids.ts'
import { phoneNumber } from '../channels/phone.ts'
import { deleteSuppression, listSuppressions, mailKey } from '../messages/suppressions.ts'
import type { Suppression } from '../messages/suppressions.ts'
import { findChannel } from './channel.ts'
import { cutPage, namedCursors, pageQuery, readPage } from './page.ts'
import { resourceMissing } from './reference.ts'
import { ANSWERS_NOTHING, NO_CONTENT, ok, type MutationRoute, type ReadRoute } from './route.ts'
import { entity, nullableText, oneOf, orNull, pageShape, text, time, uuid } from './shapes/shape.ts'

const Entry = entity('Suppression', {
  channel_id: uuid,
  channel: text,
  address: text,
  reason: oneOf(['bounced', 'complained']),
  details: nullableText,
  message_id: orNull(uuid),
  inserted_at: time,
})

const list: ReadRoute = {
  id: 'channels.listSuppressions',
  summary: 'Lists the addresses to which a channel sends nothing more',
  replies: { 200: pageShape('entries', Entry) },
  kind: 'read',
  method: 'GET',
  path: '/v1/channels/:channel/suppressions',
  scope: 'read',
  environment: 'key',
  query: { type: 'object', properties: pageQuery },
  async handle({ database, environment, params, query }) {
    const channel = await requireNamed(database, environment, params['channel'])
    const page = readPage(query, namedCursors)
    const place = { environment, channel }
    const found = await listSuppressions(database, place, { ...page, limit: page.size + 1 })
    const rows = found.map((row) => ({ id: row.address, row }))
    const { rows: shown, info } = cutPage(rows, page)
    return ok({ entries: shown.map(({ row }) => toWire(row, channel)), page_info: info })
  },
}

const clear: MutationRoute = {
  id: 'channels.clearSuppression',
  summary: 'Lets a channel send to an address again',
  replies: ANSWERS_NOTHING,
  kind: 'mutation',
  method: 'DELETE',
  path: '/v1/channels/:channel/suppressions/:address',
  scope: 'write',
  environment: 'key',
  async handle({ tx, environment, params }) {
    const channel = await requireNamed(tx, environment, params['channel'])
    const { address = '' } = params
    const key = address.includes('@') ? mailKey(address) : (phoneNumber(address) ?? address)
    const isGone = await deleteSuppression(tx, environment, channel, key)
    if (!isGone) throw resourceMissing('suppression', address)
    return NO_CONTENT
  },
}

async function requireNamed(
  db: Queryable,
  environment: EnvironmentName,
  named = '',
): Promise<ChannelKey> {
  const channel = await findChannel(db, environment, named)
  if (channel === undefined) throw resourceMissing('channel', named)
  return channel
}

function toWire(
  { address, reason, details, messageId, insertedAt }: Suppression,
  channel: ChannelKey,
): object {
  return {
    __typename: 'Suppression',
    channel_id: channelId(channel),
    channel,
    address,
    reason,
    details,
    message_id: messageId,
    inserted_at: insertedAt,
  }
}

export const suppressions = [list, clear] as const
