import type { Queryable } from '../db/database.ts'
import { isUuid, type EnvironmentName } from '../ids.ts'
import { loadEnvironment } from '../messages/environments.ts'
import { findEvent, listEvents, type LoggedEvent } from '../runs/source-store.ts'
import { replayEvent } from '../runs/source-take.ts'
import type { Source } from '../workflow/sources.ts'
import { cutPage, pageQuery, readPage } from './page.ts'
import { resourceMissing } from './reference.ts'
import { ok, type MutationRoute, type ReadRoute } from './route.ts'
import {
  anything,
  entity,
  listOf,
  nullableText,
  nullableTime,
  pageShape,
  text,
  time,
} from './shapes/shape.ts'

const SourceEvent = entity('SourceEvent', {
  id: text,
  source: text,
  message_id: nullableText,
  kind: text,
  event: nullableText,
  user_id: nullableText,
  status: text,
  results: listOf({ description: 'What came of it.', type: 'object' }),
  replay_of: nullableText,
  body: anything,
  happened_at: nullableTime,
  received_at: time,
})

const list: ReadRoute = {
  id: 'sources.listEvents',
  summary: 'Lists what a source has sent',
  replies: { 200: pageShape('entries', SourceEvent) },
  kind: 'read',
  method: 'GET',
  path: '/v1/sources/:key/events',
  scope: 'read',
  environment: 'key',
  query: {
    type: 'object',
    properties: {
      ...pageQuery,
      status: { enum: ['done', 'ignored', 'failed'] },
      event: text,
      message_id: text,
    },
  },
  async handle({ database, environment, params, query }) {
    const source = params['key'] ?? ''
    const page = readPage(query)
    const { status = null, event = null, message_id: messageId = null } = query as Filters
    const filter = { status, event, messageId }
    const ref = { environment, source }
    const found = await listEvents(database, ref, filter, { ...page, limit: page.size + 1 })
    // What a source has sent can be read when it is no longer there.
    if (found.length === 0) await requireSource(database, environment, source)
    const { rows, info } = cutPage(found, page)
    return ok({ entries: rows.map(toWire), page_info: info })
  },
}

interface Filters {
  readonly status?: string
  readonly event?: string
  readonly message_id?: string
}

const replay: MutationRoute = {
  id: 'sources.replayEvent',
  summary: 'Does again what an event says',
  replies: { 200: SourceEvent },
  kind: 'mutation',
  method: 'POST',
  path: '/v1/sources/:key/events/:id/replay',
  scope: 'operate',
  environment: 'key',
  async handle({ tx, environment, params, now, services: { queue } }) {
    const { key = '', id = '' } = params
    const source = await requireSource(tx, environment, key)
    const ref = { environment, source: key }
    const found = isUuid(id) ? await findEvent(tx, ref, id) : undefined
    if (!found) throw resourceMissing('event', id)
    const made = await replayEvent(tx, { queue, now }, { environment, key, source }, found)
    const replayed = await findEvent(tx, ref, made)
    if (!replayed) throw resourceMissing('event', made)
    return ok(toWire(replayed))
  },
}

async function requireSource(
  db: Queryable,
  environment: EnvironmentName,
  key: string,
): Promise<Source> {
  const { sources = {} } = (await loadEnvironment(db, environment))?.settings ?? {}
  const source = Object.hasOwn(sources, key) ? sources[key] : undefined
  if (!source) throw resourceMissing('source', key)
  return source
}

function toWire(event: LoggedEvent): object {
  return {
    __typename: 'SourceEvent',
    id: event.id,
    source: event.source,
    message_id: event.messageId,
    kind: event.kind,
    event: event.event,
    user_id: event.userId,
    status: event.status,
    results: event.results,
    replay_of: event.replayOf,
    body: event.body,
    happened_at: event.happenedAt,
    received_at: event.receivedAt,
  }
}

export const sources = [list, replay] as const
