import type { Queryable } from '../db/database.ts'
import type { ChannelKey, EnvironmentName } from '../ids.ts'
import { loadEnvironment } from '../messages/environments.ts'
import {
  countFeed,
  EMPTY_FEED,
  FEED_STATUSES,
  type Feed as FeedPlace,
  type FeedCounts,
} from '../messages/feed-store.ts'
import {
  listMessages,
  loadMessageContents,
  type EngagementStatus,
  type MessageFilter,
  type MessageRow,
} from '../messages/log-store.ts'
import { activityToWire, feedItemToWire } from '../messages/wire.ts'
import {
  checkRecipientId,
  entityToWire,
  recipientKey,
  USERS,
  type RecipientRef,
} from '../recipients/recipient.ts'
import { findRecipient, loadRecipients } from '../recipients/store.ts'
import type { EnvironmentSettings } from '../workflow/environment.ts'
import { findChannel } from './channel.ts'
import { narrowFeed, type FeedView } from './feed-view.ts'
import { loadFeedBatches, subjectOf, type Wanted } from './message-batches.ts'
import { contentFilterQuery, readContentFilter } from './message-filter.ts'
import { pageInfo, pageQuery, readPage, type Ends, type Page } from './page.ts'
import { resourceMissing } from './reference.ts'
import { ok, type ReadRoute } from './route.ts'
import { Feed } from './shapes/messages.ts'
import { component, flag, shape } from './shapes/shape.ts'

interface FeedQuery extends FeedView {
  readonly status?: 'unread' | 'read' | 'unseen' | 'seen' | 'all'
  readonly archived?: 'exclude' | 'include' | 'only'
  readonly has_tenant?: boolean
}

/** Query parameters that narrow a feed. */
export const feedQuery = {
  ...contentFilterQuery,
  status: { enum: ['unread', 'read', 'unseen', 'seen', 'all'] },
  archived: { enum: ['exclude', 'include', 'only'] },
  has_tenant: { ...flag, description: 'Whether it is of a tenant at all.' },
} as const

const FeedSettings = component('FeedSettings', {
  features: shape({ branding_required: flag }),
})

const list: ReadRoute = {
  id: 'users.feeds.listItems',
  summary: 'Lists the feed of a user',
  replies: { 200: Feed },
  kind: 'read',
  method: 'GET',
  path: '/v1/users/:id/feeds/:channel',
  scope: 'read',
  environment: 'key',
  query: {
    type: 'object',
    properties: {
      ...pageQuery,
      ...feedQuery,
      mode: {
        enum: ['rich', 'compact'],
        description: '`compact`: no activities, one actor at most, no nested data.',
      },
      exclude: {
        type: 'string',
        description: 'Paths of what is left out, with commas between them.',
      },
    },
  },
  async handle({ database, environment, params, query }) {
    const page = readPage(query)
    const id = checkRecipientId(params['id'], 'path')
    const settings = (await loadEnvironment(database, environment))?.settings
    const channel = await findFeedChannel(database, environment, params['channel'] ?? '')
    const feed = { recipient: { collection: USERS, id }, channel, filter: readFeedFilter(query) }
    const user = await findRecipient(database, environment, feed.recipient)
    const { mode } = query as FeedView
    const found = user
      ? await loadFeed(database, environment, { ...feed, user, mode, page })
      : EMPTY
    const { items, ends, counts } = found
    const body = {
      entries: items,
      meta: metadataToWire(counts),
      page_info: pageInfo(ends, page),
      vars: publicVariables(settings),
    }
    return ok(narrowFeed(body, query as FeedView))
  },
}

/** The counts of a feed, in the contract's shape. */
export function metadataToWire({ total, unread, unseen }: FeedCounts): object {
  return {
    __typename: 'FeedMetadata',
    total_count: total,
    unread_count: unread,
    unseen_count: unseen,
  }
}

/** A feed is named by its channel's key or id; throws a 404 `RequestError` where there is no such one. */
export async function findFeedChannel(
  db: Queryable,
  environment: EnvironmentName,
  name: string,
): Promise<ChannelKey> {
  const key = await findChannel(db, environment, name)
  const settings = (await loadEnvironment(db, environment))?.settings
  if (key !== undefined && settings?.channels[key]?.type === 'in_app') return key
  throw resourceMissing('in-app channel', name)
}

/** The filter that a query of `feedQuery` asks for. */
export function readFeedFilter(query: Readonly<Record<string, unknown>>): MessageFilter {
  const { status = 'all', archived = 'exclude', has_tenant: hasTenant } = query as FeedQuery
  const engagement: readonly EngagementStatus[] = status === 'all' ? [] : [status]
  return {
    ...readContentFilter(query),
    ...(engagement.length > 0 && { engagement }),
    ...(archived !== 'include' && { archived: archived === 'only' }),
    ...(hasTenant !== undefined && { hasTenant }),
  }
}

interface FoundFeed {
  readonly items: readonly object[]
  readonly ends: Ends
  readonly counts: FeedCounts
}

/** What a user sees who is not known. */
const EMPTY: FoundFeed = {
  items: [],
  ends: { after: null, before: null },
  counts: EMPTY_FEED,
}

async function loadFeed(
  db: Queryable,
  environment: EnvironmentName,
  feed: FeedPlace & Wanted & { readonly page: Page },
): Promise<FoundFeed> {
  const { recipient, channel, page } = feed
  const inFeed = { channelType: 'in_app', statuses: FEED_STATUSES } as const
  const filter = { ...feed.filter, ...inFeed, recipient, channel }
  const { rows, ...ends } = await listMessages(db, environment, filter, page)
  const counts = await countFeed(db, environment, feed)
  return { items: await showItems(db, environment, rows, feed), ends, counts }
}

/** A fixed number of statements, whatever the number of items. */
async function showItems(
  db: Queryable,
  environment: EnvironmentName,
  rows: readonly MessageRow[],
  wanted: Wanted,
): Promise<readonly object[]> {
  if (rows.length === 0) return []
  const ids = rows.map(({ id }) => id)
  const contents = await loadMessageContents(db, environment, ids)
  const contentById = new Map(contents.map(({ id, content }) => [id, content]))
  const batches = await loadFeedBatches(db, environment, rows, wanted)
  const subjects = rows.map((row) => subjectOf(row, batches.get(row.id)))
  const refs = subjects.flatMap(({ actors, activities }) => [
    ...actors,
    ...activities.flatMap(({ actor }) => actor ?? []),
  ])
  const known = await loadRecipients(db, environment, refs)
  const entities = new Map(known.map((one) => [recipientKey(one), entityToWire(one)]))
  const entityOf = (ref: RecipientRef) => entities.get(recipientKey(ref))
  const recipient = entityToWire(wanted.user)
  return rows.map((row, index) => {
    const { activities, totalActivities, actors: causes, totalActors } = subjects[index]!
    const actors = causes.flatMap((ref) => entityOf(ref) ?? [])
    return feedItemToWire(row, {
      content: contentById.get(row.id),
      activities: activities.map(({ actor: by, ...activity }) =>
        activityToWire({ ...activity, actor: (by && entityOf(by)) ?? null, recipient }),
      ),
      totalActivities,
      actors,
      totalActors: totalActors ?? actors.length,
    })
  })
}

/** The variables that anybody may know: a feed is read by the application in the user's hands. */
function publicVariables(settings: EnvironmentSettings | undefined): object {
  const named = Object.entries(settings?.variables ?? {}).flatMap(([name, variable]) =>
    'value' in variable && variable.public ? [[name, variable.value] as const] : [],
  )
  return Object.fromEntries(named)
}

const settingsOfFeed: ReadRoute = {
  id: 'users.feeds.getSettings',
  summary: 'Shows the settings of a feed',
  replies: { 200: FeedSettings },
  kind: 'read',
  method: 'GET',
  path: '/v1/users/:id/feeds/:channel/settings',
  scope: 'read',
  environment: 'key',
  async handle({ database, environment, params }) {
    checkRecipientId(params['id'], 'path')
    await findFeedChannel(database, environment, params['channel'] ?? '')
    return ok({ features: { branding_required: false } })
  },
}

export const feeds = [list, settingsOfFeed] as const
