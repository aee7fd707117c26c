import { beforeEach, describe, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { testClock } from '../support/clock.ts'
import { test } from '../support/database.ts'
import { STATUSES_MAX } from '../support/fake-forge-speech.ts'
import { failing, FORGE_TOKEN } from '../support/fake-forge.ts'
import { clearForge, CONTEXT, forgeScene, say, SHA, START, statusRows } from './forge-scene.ts'

beforeEach<{ database: Database }>(({ database }) => clearForge(database))

describe('a forge in trouble', () => {
  test('is left alone as long as it asks, for everything, and that uses up no attempt', async ({
    database,
  }) => {
    const clock = testClock(START)
    await using scene = await forgeScene(database, clock)
    await say(database, 'success Applied')
    await say(database, 'success Valid', { context: 'belfry/production/validate' })
    scene.fake.trouble = failing(429, { 'retry-after': '120' })
    await scene.drain()
    expect(scene.fake.http.requests).toHaveLength(1)
    expect((await statusRows(database, SHA)).map(({ attempts }) => attempts)).toEqual([0, 0])
    scene.fake.trouble = undefined
    clock.advance(119_000)
    await scene.drain()
    expect(scene.fake.http.requests).toHaveLength(1)
    clock.advance(2_000)
    await scene.drain()
    expect(scene.posts(SHA, CONTEXT)).toEqual(['success Applied'])
    expect(scene.posts(SHA, 'belfry/production/validate')).toEqual(['success Valid'])
  })

  test('is left alone until its limit is counted anew', async ({ database }) => {
    const clock = testClock(START)
    await using scene = await forgeScene(database, clock)
    await say(database, 'success Applied')
    const reset = String(clock.now().getTime() / 1000 + 600)
    scene.fake.trouble = failing(403, { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': reset })
    await scene.drain()
    scene.fake.trouble = undefined
    clock.advance(599_000)
    await scene.drain()
    expect(scene.posts(SHA, CONTEXT)).toEqual([])
    clock.advance(2_000)
    await scene.drain()
    expect(scene.posts(SHA, CONTEXT)).toEqual(['success Applied'])
  })

  test('is asked again with growing pauses', async ({ database }) => {
    const clock = testClock(START)
    await using scene = await forgeScene(database, clock)
    await say(database, 'success Applied')
    scene.fake.trouble = failing(502)
    const pauses: number[] = []
    for (let attempt = 0; attempt < 4; attempt += 1) {
      await scene.drain()
      const [row] = await statusRows(database, SHA)
      pauses.push((row?.due?.getTime() ?? 0) - clock.now().getTime())
      clock.set(row?.due ?? START)
    }
    expect(pauses).toEqual([1_500, 3_000, 6_000, 12_000])
    scene.fake.trouble = undefined
    await scene.drain()
    expect(scene.posts(SHA, CONTEXT)).toEqual(['success Applied'])
    expect(await statusRows(database, SHA)).toMatchObject([{ attempts: 0, problem: null }])
  })

  test('does not lose patience with a newer state', async ({ database }) => {
    await using scene = await forgeScene(database, testClock(START))
    await say(database, 'pending Reading')
    scene.fake.trouble = failing(502)
    await scene.drain()
    const [before] = await statusRows(database, SHA)
    await say(database, 'success Applied')
    const [after] = await statusRows(database, SHA)
    expect(after).toMatchObject({ attempts: 1, due: before?.due, state: 'success' })
  })

  test.for([
    [404, 'a commit that the forge does not know'],
    [422, 'what the forge does not take'],
  ] as const)('ends the attempts with a %d, for %s', async ([status], { database }) => {
    await using scene = await forgeScene(database, testClock(START))
    await say(database, 'failure Refused')
    scene.fake.trouble = failing(status)
    await scene.drain()
    const [row] = await statusRows(database, SHA)
    expect(row).toMatchObject({ givenUp: true, due: null })
    expect(row?.problem).toContain(String(status))
    scene.fake.trouble = undefined
    await say(database, 'failure Refused')
    await scene.drain()
    expect(scene.posts(SHA, CONTEXT)).toEqual([])
    await say(database, 'success Applied')
    await scene.drain()
    expect(scene.posts(SHA, CONTEXT)).toEqual(['success Applied'])
  })

  test('that takes no more of a context is given up', async ({ database }) => {
    await using scene = await forgeScene(database, testClock(START))
    const status = { sha: SHA, context: CONTEXT, state: 'error', description: 'x' } as const
    for (let count = 0; count < STATUSES_MAX; count += 1) {
      await scene.outbox.forge.postStatus({ ...status, gitRef: 'production' })
    }
    await say(database, 'success Applied')
    await scene.drain()
    expect(await statusRows(database, SHA)).toMatchObject([
      { givenUp: true, problem: expect.stringContaining('maximum number of statuses') },
    ])
  })

  test('that loses its answer is not told twice', async ({ database }) => {
    const clock = testClock(START)
    await using scene = await forgeScene(database, clock)
    await say(database, 'success Applied')
    scene.fake.losses = 1
    await scene.drain()
    clock.advance(60_000)
    await scene.drain()
    expect(scene.posts(SHA, CONTEXT)).toEqual(['success Applied'])
    expect(await statusRows(database, SHA)).toMatchObject([{ due: null, problem: null }])
  })

  test.for([401, 403])(
    'that answers %d is asked again until the token is right',
    async (status, { database }) => {
      const clock = testClock(START)
      await using scene = await forgeScene(database, clock)
      await say(database, 'success Applied')
      scene.fake.trouble = failing(status)
      for (let attempt = 0; attempt < 100; attempt += 1) {
        await scene.drain()
        clock.advance(301_000)
      }
      expect(scene.fake.http.requests).toHaveLength(100)
      scene.fake.trouble = undefined
      await scene.drain()
      expect(scene.posts(SHA, CONTEXT)).toEqual(['success Applied'])
    },
  )

  test('has the token in no log and no row', async ({ database }) => {
    const clock = testClock(START)
    await using scene = await forgeScene(database, clock)
    await say(database, 'success Applied')
    for (const status of [500, 429, 401, 422]) {
      scene.fake.trouble = failing(status)
      await scene.drain()
      clock.advance(3_600_000)
    }
    const [row] = await statusRows(database, SHA)
    expect(row?.problem).toContain('422')
    expect(scene.lines).toHaveLength(4)
    expect(JSON.stringify([row, scene.lines])).not.toContain(FORGE_TOKEN)
  })
})
