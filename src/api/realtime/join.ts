import { isJsonObject } from '../../json.ts'
import { RequestError } from '../../errors.ts'
import type { Queryable } from '../../db/database.ts'
import type { EnvironmentName } from '../../ids.ts'
import type { MessageFilter } from '../../messages/log-store.ts'
import type { FeedRef } from '../../messages/feed-topic.ts'
import { checkRecipientId, invalid, USERS } from '../../recipients/recipient.ts'
import { mayAct, userEntity, type Client } from '../client-access.ts'
import { feedQuery, findFeedChannel, readFeedFilter } from '../feeds.ts'
import { queryCheck } from '../schema.ts'
import { refuseBadText } from '../text.ts'

/** A feed that somebody wants to hear of. */
export interface Join {
  readonly feed: FeedRef
  /** By the references of those who look at it: what each of them wants to see. */
  readonly views: ReadonlyMap<string, MessageFilter>
}

export interface JoinRequest {
  readonly environment: EnvironmentName
  readonly client: Client
  readonly topic: string
  readonly payload: unknown
}

/** Clients that show one feed name themselves; others are the only one. */
export const ONLY_VIEW = ''
const VIEWS_MAX = 50

const checkOptions = queryCheck({ type: 'object', properties: feedQuery })

/**
 * Reads what a client joins: `feeds:<channel>:<user>`, and the filters of each view. Throws a `RequestError`: 403 for the
 * feed of another user, 404 for a topic or channel that is not there, 422 for filters that are none.
 */
export async function readJoin(db: Queryable, request: JoinRequest): Promise<Join> {
  const { environment, client, topic, payload } = request
  const [, channelName = '', id = ''] = /^feeds:([^:]+):(.+)$/s.exec(topic) ?? []
  if (channelName === '') throw new RequestError(404, 'resource_missing', 'there is no such topic')
  refuseBadText('topic', topic)
  const recipient = checkRecipientId(id, 'topic')
  if (!mayAct(client, userEntity(recipient), 'user/feed_read')) {
    const message = 'the user token is for another user than the feed'
    throw new RequestError(403, 'user_mismatch', message)
  }
  const channel = await findFeedChannel(db, environment, channelName)
  return {
    feed: { environment, channel, collection: USERS, recipient },
    views: readViews(payload),
  }
}

function readViews(payload: unknown): Join['views'] {
  if (!isJsonObject(payload)) throw invalid('', 'is no object')
  refuseBadText('', payload)
  const entries = Object.entries(payload)
  const areNamed = entries.length > 0 && entries.every(([, options]) => isJsonObject(options))
  const views = areNamed ? entries : [[ONLY_VIEW, payload] as const]
  if (views.length > VIEWS_MAX) throw invalid('', `names more than ${VIEWS_MAX} views of one feed`)
  return new Map(views.map(([name, options]) => [name, readOptions(options)]))
}

function readOptions(options: unknown): MessageFilter {
  const given = { ...(options as Readonly<Record<string, unknown>>) }
  // Over HTTP it is a text; here clients send it as they hold it.
  if (isJsonObject(given['trigger_data']))
    given['trigger_data'] = JSON.stringify(given['trigger_data'])
  const wanted = Object.entries(given).filter(
    ([name, value]) => Object.hasOwn(feedQuery, name) && value !== null,
  )
  const query = Object.fromEntries(wanted)
  checkOptions(query)
  return readFeedFilter(query)
}
