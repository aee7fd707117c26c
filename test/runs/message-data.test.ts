import { describe, expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import type { ChannelKey } from '../../src/ids.ts'
import { countFeed } from '../../src/messages/feed-store.ts'
import { listMessages, type MessageFilter } from '../../src/messages/log-store.ts'
import { openRetention } from '../../src/runs/retention.ts'
import type { Engine } from '../support/engine.ts'
import { MINUTE_MS, environment, test } from './batch-scene.ts'

const PAGE = { size: 50 }
const DAY_MS = 24 * 60 * MINUTE_MS

const hello = (steps: string) => ({
  'workflows/hello/workflow.yaml': `name: Hello\nsteps:\n${steps}`,
})
const feed = (ref: string) => `  - { ref: ${ref}, type: in_app, body: x }\n`

/** What each message says that it is about, oldest first. */
async function dataOf(engine: Engine, filter: MessageFilter = {}) {
  const { rows } = await listMessages(engine.database, environment, filter, PAGE)
  return rows.toReversed().map(({ stepRef, recipient, data }) => ({ stepRef, recipient, data }))
}

describe('the data of a message', () => {
  test('are those of its run when it was made', async ({ engine }) => {
    await engine.commit(
      hello(
        `${feed('before')}  - { ref: change, type: update_data, properties: { page: 8, by: { name: Bo } } }\n${feed('after')}`,
      ),
    )
    const data = { page: 7, by: { id: 'bo' }, kept: true }
    const recipients = [{ id: 'ann' }, { id: 'bea', $trigger_data: { kept: false } }]
    await engine.trigger('hello', { recipients, data })
    await engine.drain()
    const after = { page: 8, by: { id: 'bo', name: 'Bo' } }
    expect(await dataOf(engine)).toEqual([
      { stepRef: 'before', recipient: 'ann', data },
      { stepRef: 'after', recipient: 'ann', data: { ...after, kept: true } },
      { stepRef: 'before', recipient: 'bea', data: { ...data, kept: false } },
      { stepRef: 'after', recipient: 'bea', data: { ...after, kept: false } },
    ])
    const found = await dataOf(engine, { triggerData: { page: 7, kept: true } })
    expect(found).toEqual([{ stepRef: 'before', recipient: 'ann', data }])
    const of = { recipient: { collection: '$users', id: 'ann' }, channel: 'feed' as ChannelKey }
    const filter = { triggerData: { page: 8 } }
    const counts = await countFeed(engine.database, environment, { ...of, filter })
    expect(counts.total).toBe(1)
  })

  test('are behind a batch what that made of them', async ({ engine }) => {
    await engine.commit(hello(`  - { ref: digest, type: batch, window: 10m }\n${feed('feed')}`))
    for (const n of [1, 2])
      await engine.trigger('hello', { recipients: ['ann', { id: 'ann' }], data: { n, list: [n] } })
    await engine.drain()
    engine.clock.advance(10 * MINUTE_MS)
    await engine.drain()
    expect(await dataOf(engine)).toEqual([{ stepRef: 'feed', recipient: 'ann', data: { n: 2 } }])
  })

  test('are stored once for all who are told of the same', async ({ engine }) => {
    await engine.commit(hello(feed('feed')))
    const recipients = [{ id: 'ann' }, { id: 'bea' }]
    const data = { text: 'x'.repeat(1_000) }
    await engine.trigger('hello', { recipients, data })
    await engine.drain()
    const rows = await engine.database.query<{ data: unknown }>(sql`
      select data from messages where environment = ${environment}`)
    expect(rows).toEqual([{ data: null }, { data: null }])
    expect(await dataOf(engine)).toMatchObject([{ data }, { data }])
  })

  test('stay as long as the item of the feed', async ({ engine }) => {
    await engine.commit(hello(feed('feed')))
    await engine.trigger('hello', { recipients: [{ id: 'ann' }], data: { page: 7 } })
    await engine.drain()
    engine.clock.advance(31 * DAY_MS)
    const retention = openRetention(engine.database, 30)
    for (let turn = 0; turn < 20; turn += 1) await retention.turn(engine.clock.now())
    const runs = await engine.database.query(sql`
      select id from runs where environment = ${environment}`)
    expect(runs).toEqual([])
    expect(await dataOf(engine)).toMatchObject([{ data: { page: 7 } }])
  })

  test('end a page of a list where they are large, after one message at least', async ({
    engine,
  }) => {
    await engine.commit(hello(feed('feed')))
    for (const [n, size] of [100, 100, 1_000, 100].entries()) {
      const data = { n, text: 'x'.repeat(size) }
      await engine.trigger('hello', { recipients: [{ id: 'ann' }], data })
      await engine.drain()
    }
    const page = async (place: { after?: string; before?: string }) => {
      const request = { size: 3, bytesMax: 600, ...place }
      const found = await listMessages(engine.database, environment, {}, request)
      return { ...found, numbers: found.rows.map(({ data }) => data?.['n']) }
    }
    const newest = await page({})
    expect(newest).toMatchObject({ numbers: [3], before: null })
    const large = await page({ after: newest.after! })
    expect(large.numbers).toEqual([2])
    const oldest = await page({ after: large.after! })
    expect(oldest).toMatchObject({ numbers: [1, 0], after: null })
    expect((await page({ before: oldest.before! })).numbers).toEqual([2])
    expect(await page({ before: large.before! })).toMatchObject({ numbers: [3], before: null })
  })
})
