import { beforeEach, describe, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { newId } from '../../src/ids.ts'
import type { EnvironmentName, ProcessId, Revision } from '../../src/ids.ts'
import { announce, descriptionOf } from '../../src/reconcile/outbox.ts'
import { releaseDeadTellers } from '../../src/reconcile/outbox-store.ts'
import {
  CLAIM_MS,
  POSTS_PER_COMMIT_MAX,
  sendNextStatus,
  sweepOutbox,
} from '../../src/reconcile/outbox-send.ts'
import { applied } from '../../src/reconcile/status.ts'
import { beat } from '../../src/messages/leases.ts'
import { sql } from '../../src/db/sql.ts'
import { testClock } from '../support/clock.ts'
import { test } from '../support/database.ts'
import { failing } from '../support/fake-forge.ts'
import { clearForge, CONTEXT, forgeScene, say, SHA, START, statusRows } from './forge-scene.ts'

beforeEach<{ database: Database }>(({ database }) => clearForge(database))

function gate() {
  const { promise, resolve } = Promise.withResolvers<void>()
  return { opened: promise, open: resolve }
}

describe('what the forge is told', () => {
  test('is the newest state, once', async ({ database }) => {
    await using scene = await forgeScene(database, testClock(START))
    await say(database, 'pending Reading')
    await say(database, 'success Applied')
    await scene.drain()
    await say(database, 'success Applied')
    await scene.drain()
    expect(scene.posts(SHA, CONTEXT)).toEqual(['success Applied'])
  })

  test('is where the environment is seen, if Belfry knows where it is found', async ({
    database,
  }) => {
    await using scene = await forgeScene(database, testClock(START))
    await say(database, 'failure Refused')
    await sendNextStatus(scene.outbox)
    await say(database, 'success Applied')
    await sendNextStatus({ ...scene.outbox, publicUrl: 'https://example.com/belfry' })
    expect(scene.fake.posts(SHA, CONTEXT).map(({ targetUrl }) => targetUrl)).toEqual([
      undefined,
      'https://example.com/belfry/v1/environments/production',
    ])
  })

  test('is counted, and so is what it refuses', async ({ database }) => {
    const clock = testClock(START)
    await using scene = await forgeScene(database, clock)
    const notes: string[] = []
    const outbox = { ...scene.outbox, note: (result: string) => void notes.push(result) }
    await say(database, 'success Applied')
    scene.fake.trouble = failing(500)
    await sendNextStatus(outbox)
    scene.fake.trouble = undefined
    clock.advance(60_000)
    await sendNextStatus(outbox)
    expect(notes).toEqual(['failed', 'ok'])
  })

  test('is not told again after a restart, and a recovery is told once', async ({ database }) => {
    await using scene = await forgeScene(database, testClock(START))
    await say(database, 'failure Refused')
    await scene.drain()
    for (let restart = 0; restart < 10; restart += 1) {
      // A new process reads anew what is refused.
      await say(database, 'pending Reading')
      await say(database, 'failure Refused')
      await scene.drain()
    }
    expect(scene.posts(SHA, CONTEXT)).toEqual(['failure Refused'])
    for (let pass = 0; pass < 10; pass += 1) {
      await say(database, 'success Applied')
      await scene.drain()
    }
    expect(scene.posts(SHA, CONTEXT)).toEqual(['failure Refused', 'success Applied'])
  })

  test('is at most two posts after a thousand reconciles of the same state', async ({
    database,
  }) => {
    await using scene = await forgeScene(database, testClock(START))
    for (let pass = 0; pass < 1_000; pass += 1) {
      await say(database, 'pending Reading')
      if (pass % 2 === 0) await scene.drain()
      await say(database, 'success Applied')
      if (pass % 3 === 0) await scene.drain()
    }
    await scene.drain()
    expect(scene.posts(SHA, CONTEXT)).toEqual(['pending Reading', 'success Applied'])
  })

  test('is nothing where a state comes back before another one was told', async ({ database }) => {
    await using scene = await forgeScene(database, testClock(START))
    await say(database, 'failure Refused')
    await scene.drain()
    await say(database, 'success Applied')
    await say(database, 'failure Refused')
    await scene.drain()
    expect(scene.posts(SHA, CONTEXT)).toEqual(['failure Refused'])
  })

  test('goes back to pending where it takes back what was said', async ({ database }) => {
    await using scene = await forgeScene(database, testClock(START))
    await say(database, 'success Planned')
    await scene.drain()
    await say(database, 'pending Planning', { restarts: true })
    await scene.drain()
    expect(scene.posts(SHA, CONTEXT)).toEqual(['success Planned', 'pending Planning'])
  })

  test('is nothing of what is rolled back', async ({ database }) => {
    const work = database.transaction(async (tx) => {
      const finding = {
        environment: 'production' as EnvironmentName,
        gitRef: 'production',
        revision: SHA as Revision,
        status: applied(SHA as Revision),
        diagnostics: [],
        now: new Date(START),
      }
      await announce(tx, { instance: 'belfry' }, finding)
      throw new Error('lost the lead')
    })
    await expect(work).rejects.toThrow('lost the lead')
    expect(await statusRows(database, SHA)).toEqual([])
  })

  test('is compared with what the forge shows before it is posted', async ({ database }) => {
    await using scene = await forgeScene(database, testClock(START))
    await scene.outbox.forge.postStatus({
      sha: SHA,
      context: CONTEXT,
      state: 'success',
      description: 'Applied',
      gitRef: 'production',
    })
    await say(database, 'success Applied')
    await scene.drain()
    expect(scene.posts(SHA, CONTEXT)).toHaveLength(1)
    expect(await statusRows(database, SHA)).toMatchObject([{ posts: 0, due: null }])
  })

  test('is bounded for one commit', async ({ database }) => {
    await using scene = await forgeScene(database, testClock(START))
    await say(database, 'success Applied')
    await database.query(sql`update commit_statuses set posts = ${POSTS_PER_COMMIT_MAX}`)
    await say(database, 'success Valid', { context: 'belfry/production/validate' })
    await scene.drain()
    expect(scene.posts(SHA, 'belfry/production/validate')).toEqual([])
    expect((await statusRows(database, SHA)).at(-1)).toMatchObject({ givenUp: true })
  })

  test('is forgotten when it is old and told', async ({ database }) => {
    const clock = testClock(START)
    await using scene = await forgeScene(database, clock)
    await say(database, 'success Applied')
    await scene.drain()
    await say(database, 'success Applied', { sha: 'b'.repeat(40) })
    expect(await sweepOutbox(scene.outbox)).toBe(0)
    clock.advance(91 * 86_400_000)
    expect(await sweepOutbox(scene.outbox)).toBe(1)
    expect(await statusRows(database, SHA)).toEqual([])
    expect(await statusRows(database, 'b'.repeat(40))).toHaveLength(1)
  })
})

describe('two processes', () => {
  test('tell everything once', async ({ database }) => {
    await using scene = await forgeScene(database, testClock(START))
    const shas = Array.from({ length: 30 }, (_, index) => index.toString(16).padStart(40, '0'))
    for (const sha of shas) await say(database, 'success Applied', { sha })
    const drain = async (outbox: typeof scene.outbox) => {
      while ((await sendNextStatus(outbox)) > 0) continue
    }
    await Promise.all([drain(scene.outbox), drain(scene.other), drain(scene.other)])
    for (const sha of shas) expect(scene.posts(sha, CONTEXT)).toEqual(['success Applied'])
  })

  test('do not tell two states of one commit at the same time', async ({ database }) => {
    await using scene = await forgeScene(database, testClock(START))
    await say(database, 'pending Reading')
    const asked = gate()
    const answered = gate()
    scene.fake.trouble = async ({ method }) => {
      if (method === 'GET') return false
      asked.open()
      await answered.opened
      return false
    }
    const first = sendNextStatus(scene.outbox)
    await asked.opened
    await say(database, 'success Applied')
    expect(await sendNextStatus(scene.other)).toBe(0)
    answered.open()
    await first
    await scene.drain()
    expect(scene.posts(SHA, CONTEXT)).toEqual(['pending Reading', 'success Applied'])
  })

  test('end with the newest state where it comes back while another one is told', async ({
    database,
  }) => {
    await using scene = await forgeScene(database, testClock(START))
    await say(database, 'failure Refused')
    await scene.drain()
    await say(database, 'success Applied')
    const asked = gate()
    const answered = gate()
    scene.fake.trouble = async () => {
      asked.open()
      await answered.opened
      return false
    }
    const first = sendNextStatus(scene.outbox)
    await asked.opened
    await say(database, 'failure Refused')
    expect(await sendNextStatus(scene.other)).toBe(0)
    answered.open()
    await first
    await scene.drain()
    expect(scene.posts(SHA, CONTEXT).at(-1)).toBe('failure Refused')
  })

  test('take over from each other, and the newest state stands', async ({ database }) => {
    const clock = testClock(START)
    await using scene = await forgeScene(database, clock)
    await say(database, 'pending Reading')
    const asked = gate()
    const answered = gate()
    scene.fake.trouble = async ({ method }) => {
      if (method === 'GET') return false
      scene.fake.trouble = undefined
      asked.open()
      await answered.opened
      return false
    }
    const first = sendNextStatus(scene.outbox)
    await asked.opened
    await say(database, 'success Applied')
    clock.advance(CLAIM_MS)
    expect(await sendNextStatus(scene.other)).toBe(1)
    expect(scene.posts(SHA, CONTEXT)).toEqual(['success Applied'])
    // The first one was only slow.
    answered.open()
    await first
    await scene.drain()
    expect(scene.posts(SHA, CONTEXT)).toEqual([
      'success Applied',
      'pending Reading',
      'success Applied',
    ])
  })

  test('take over at once from one that has died', async ({ database }) => {
    const clock = testClock(START)
    await using scene = await forgeScene(database, clock)
    await say(database, 'success Applied')
    const alive = newId<ProcessId>()
    await beat(database, alive)
    const claim = newId<ProcessId>()
    const until = new Date(clock.now().getTime() + CLAIM_MS)
    await database.query(sql`
      update commit_statuses
      set claim = ${claim}, claimed_by = ${alive}, due_at = ${until}
      where environment = 'production'`)
    expect(await releaseDeadTellers(database, clock.now())).toBe(0)
    await scene.drain()
    expect(scene.posts(SHA, CONTEXT)).toEqual([])
    await database.query(sql`
      update leases set beats_at = clock_timestamp() - interval '7 seconds' where process = ${alive}`)
    expect(await releaseDeadTellers(database, clock.now())).toBe(1)
    await scene.drain()
    expect(scene.posts(SHA, CONTEXT)).toEqual(['success Applied'])
  })
})

describe('a description', () => {
  test('is one line of at most 140 characters', () => {
    expect(descriptionOf('a\n  b\tc ')).toBe('a b c')
    const long = descriptionOf('😀'.repeat(200))
    expect(Array.from(long)).toHaveLength(140)
    expect(long.endsWith('😀…')).toBe(true)
  })

  test('holds nothing that Postgres refuses', () => {
    expect(descriptionOf('a\0b\ud800')).toBe('a\uFFFDb\uFFFD')
  })
})
