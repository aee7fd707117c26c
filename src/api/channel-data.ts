import { channelDataToWire } from '../channels/channel-data.ts'
import { isProviderName, providers } from '../channels/index.ts'
import type { Queryable } from '../db/database.ts'
import { channelId, type EnvironmentName } from '../ids.ts'
import { loadEnvironment } from '../messages/environments.ts'
import { deleteChannelData, findChannelData } from '../recipients/channel-data-store.ts'
import {
  checkCollection,
  checkRecipientId,
  USERS,
  type RecipientRef,
} from '../recipients/recipient.ts'
import { upsertRecipients } from '../recipients/store.ts'
import { channelNamed, storeChannelData } from '../runs/channel-data.ts'
import type { Channel } from '../workflow/environment.ts'
import { resourceMissing } from './reference.ts'
import { ANSWERS_NOTHING, type MutationRoute, NO_CONTENT, ok, type ReadRoute } from './route.ts'
import { ChannelData } from './shapes/recipients.ts'

interface Owner {
  /** The first part of the names of its calls, and what one is called. */
  readonly tag: string
  readonly one: string
  readonly path: string
  readonly refOf: (params: Readonly<Record<string, string>>) => RecipientRef
}

/** The calls that show, write and delete where one recipient is reached on one channel. */
function channelDataRoutes({
  tag,
  one,
  path,
  refOf,
}: Owner): readonly [ReadRoute, MutationRoute, MutationRoute] {
  const whole = `${path}/channel_data/:channel`
  const find: ReadRoute = {
    id: `${tag}.getChannelData`,
    summary: `Shows where ${one} is reached on a channel`,
    replies: { 200: ChannelData },
    kind: 'read',
    method: 'GET',
    path: whole,
    scope: 'read',
    environment: 'key',
    async handle({ database, environment, params }) {
      const ref = refOf(params)
      const channel = await requireNamed(database, environment, params['channel'] ?? '')
      const found = await findChannelData(database, environment, ref, channel.key)
      if (!found) throw resourceMissing('channel data', `${ref.id} on ${channel.key}`)
      return ok(toWire(channel, found.data))
    },
  }
  const put: MutationRoute = {
    id: `${tag}.setChannelData`,
    summary: `Says where ${one} is reached on a channel`,
    replies: { 200: ChannelData },
    kind: 'mutation',
    method: 'PUT',
    path: whole,
    scope: 'write',
    environment: 'key',
    body: { type: 'object', required: ['data'], properties: { data: { type: 'object' } } },
    async handle({ tx, environment, params, body, now }) {
      const ref = refOf(params)
      const channel = await requireNamed(tx, environment, params['channel'] ?? '')
      const { data } = body as { readonly data: unknown }
      await upsertRecipients(tx, environment, [{ ...ref, properties: {} }], now)
      const given = { ...ref, channelData: { [channel.key]: data }, pointer: () => '/data' }
      const [stored] = await storeChannelData(tx, environment, [given], now)
      return ok(toWire(channel, stored?.data ?? {}))
    },
  }
  const remove: MutationRoute = {
    id: `${tag}.unsetChannelData`,
    summary: `Forgets where ${one} is reached on a channel`,
    replies: ANSWERS_NOTHING,
    kind: 'mutation',
    method: 'DELETE',
    path: whole,
    scope: 'write',
    environment: 'key',
    async handle({ tx, environment, params }) {
      const ref = refOf(params)
      const channel = await requireNamed(tx, environment, params['channel'] ?? '')
      await deleteChannelData(tx, environment, ref, channel.key)
      return NO_CONTENT
    },
  }
  return [find, put, remove]
}

async function requireNamed(
  db: Queryable,
  environment: EnvironmentName,
  name: string,
): Promise<Channel> {
  const applied = await loadEnvironment(db, environment)
  const channel = applied && channelNamed(applied.settings, name)
  if (!channel) throw resourceMissing('channel', name)
  return channel
}

function toWire({ key, provider }: Channel, data: Readonly<Record<string, unknown>>): object {
  const known: { readonly wireName?: string } = isProviderName(provider) ? providers[provider] : {}
  return {
    __typename: 'ChannelData',
    channel_id: channelId(key),
    provider: known.wireName ?? provider,
    data: channelDataToWire(data),
  }
}

const ofUsers = channelDataRoutes({
  tag: 'users',
  one: 'a user',
  path: '/v1/users/:id',
  refOf: ({ id }) => ({ collection: USERS, id: checkRecipientId(id, 'path') }),
})

const ofObjects = channelDataRoutes({
  tag: 'objects',
  one: 'an object',
  path: '/v1/objects/:collection/:id',
  refOf: ({ collection, id }) => ({
    collection: checkCollection(collection, 'path'),
    id: checkRecipientId(id, 'path'),
  }),
})

export const channelData = [...ofUsers, ...ofObjects] as const
