import { sql } from '../../src/db/sql.ts'
import { channelId, type ChannelKey } from '../../src/ids.ts'
import { test as base } from '../support/database.ts'
import { serveAll } from './contract-support.ts'
import { anEnvironment, type TestReply } from './server-support.ts'
import { applyRevision } from './workflow-support.ts'

type Call = (path: string, body?: unknown) => Promise<TestReply>

interface Api {
  readonly get: Call
  readonly put: Call
  readonly post: Call
  readonly remove: Call
}

/** The id of its channel. */
export const EMAIL = channelId('email' as ChannelKey)

/** A server of an environment with one workflow, a channel and default preferences. */
export const test = base.extend<{ api: Api }>({
  api: async ({ database }, use) => {
    await database.execute('truncate recipients, preference_sets, environments cascade')
    const { key } = await anEnvironment(database, 'production')
    await applyRevision(database, 'production', {
      hello: { name: 'Hello', categories: ['news'], commercial: true, steps: [] },
    })
    await database.query(sql`
      update environments
      set settings = settings || '{"preferences": {"categories": {"marketing": false}}}'
      where name = 'production'
    `)
    await using server = await serveAll(database)
    const call = (method: string) => (path: string, body?: unknown) =>
      server.call(method, `/v1/${path}`, { key, body })
    await use({ get: call('GET'), put: call('PUT'), post: call('POST'), remove: call('DELETE') })
  },
})

/** What is shown to who says nothing. */
export const blank = {
  workflows: null,
  categories: { marketing: false },
  channel_types: null,
  channels: null,
  commercial_subscribed: null,
}

/** Where a reply says that something is wrong. */
export function fields(reply: TestReply): readonly string[] {
  return (reply.body as { errors: readonly { field: string }[] }).errors.map((one) => one.field)
}
