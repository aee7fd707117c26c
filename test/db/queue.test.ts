import { describe, expect } from 'vitest'
import type { Database, Transaction } from '../../src/db/database.ts'
import { openQueue, type Batch, type Queue, type QueueName } from '../../src/db/queue.ts'
import { sql } from '../../src/db/sql.ts'
import { openTopics } from '../../src/db/topics.ts'
import { silentLog } from '../../src/log.ts'
import { test } from '../support/database.ts'

interface Payload {
  readonly n: number
}

function open(database: Database): Promise<Queue> {
  return openQueue(database, { log: silentLog })
}

function enqueue(database: Database, queue: Queue, numbers: number[], name: QueueName = 'run') {
  return database.transaction((tx) =>
    queue.enqueue(
      tx,
      name,
      numbers.map((n) => ({ n })),
    ),
  )
}

function numbersOf({ jobs }: Batch<Payload>): number[] {
  return jobs.map((job) => job.payload.n)
}

async function stateOf(database: Database, n: number): Promise<unknown> {
  const [row] = await database.query<{ state: string }>(sql`
    select state from belfry_queue.job where data ->> 'n' = ${String(n)} and name <> 'dead_letters'`)
  return row?.state
}

/** Lets the test go on when something has happened, without waiting longer than that. */
function gate<T = void>(): { readonly opened: Promise<T>; readonly open: (value: T) => void } {
  const { promise, resolve } = Promise.withResolvers<T>()
  return { opened: promise, open: resolve }
}

describe('a queue', () => {
  test('hands out jobs of committed transactions only', async ({ database }) => {
    await using queue = await open(database)
    const seen: number[] = []
    queue.work<Payload>('run', {
      take: 10,
      handle: async (batch) => void seen.push(...numbersOf(batch)),
    })
    const failing = database.transaction(async (tx) => {
      await queue.enqueue(tx, 'run', [{ n: 1 }])
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    await enqueue(database, queue, [2, 3])
    expect(await queue.drain()).toEqual({ handled: 2, failures: [] })
    expect(seen).toEqual([2, 3])
  })

  test('does urgent jobs first', async ({ database }) => {
    await using queue = await open(database)
    const seen: number[] = []
    queue.work<Payload>('run', { handle: async (batch) => void seen.push(...numbersOf(batch)) })
    await enqueue(database, queue, [1])
    await database.transaction((tx) => queue.enqueue(tx, 'run', [{ n: 2 }], { priority: 5 }))
    await queue.drain()
    expect(seen).toEqual([2, 1])
  })

  test('ends a job with the transaction of its handler, and only with it', async ({ database }) => {
    await using queue = await open(database)
    let fail = true
    queue.work<Payload>('run', {
      handle: ({ complete }) =>
        database.transaction(async (tx: Transaction) => {
          await complete(tx)
          if (fail) throw new Error('after completion')
        }),
    })
    await enqueue(database, queue, [10])
    const first = await queue.drain()
    expect(first.failures).toHaveLength(1)
    expect(await stateOf(database, 10)).toBe('retry')
    fail = false
    expect(await queue.drain({ retries: true })).toEqual({ handled: 1, failures: [] })
    expect(await stateOf(database, 10)).toBe('completed')
  })

  test('refuses to end a job that was given to somebody else', async ({ database }) => {
    await using queue = await open(database)
    let written = false
    queue.work<Payload>('run', {
      handle: ({ jobs, complete }) =>
        database.transaction(async (tx) => {
          const id = jobs[0]?.id
          // As the expiry of a stuck handler and the fetch of another worker would leave it.
          await database.query(sql`
            update belfry_queue.job set retry_count = retry_count + 1 where id = ${id}`)
          await complete(tx)
          written = true
        }),
    })
    await enqueue(database, queue, [20])
    const { failures } = await queue.drain()
    expect(String(failures[0])).toContain('1 jobs of run were taken over')
    expect(written).toBe(false)
    expect(await stateOf(database, 20)).toBe('active')
  })

  test('hands out jobs that failed together one by one', async ({ database }) => {
    await using queue = await open(database)
    const batches: number[][] = []
    queue.work<Payload>('run', {
      take: 5,
      handle: async (batch) => {
        batches.push(numbersOf(batch))
        if (numbersOf(batch).includes(31)) throw new Error('poison')
      },
    })
    await enqueue(database, queue, [30, 31, 32])
    await queue.drain()
    await queue.drain({ retries: true })
    expect(batches.slice(0, 4)).toEqual([[30, 31, 32], [30], [31], [32]])
    expect(await stateOf(database, 32)).toBe('completed')
  })

  test('keeps a job that failed each time as a dead letter', async ({ database }) => {
    await using queue = await open(database)
    queue.work<Payload>('deliver', { handle: () => Promise.reject(new Error('never')) })
    await enqueue(database, queue, [40], 'deliver')
    const { handled } = await queue.drain({ retries: true })
    expect(handled).toBe(6)
    const dead = await database.query(sql`
      select data from belfry_queue.job where name = 'dead_letters' and data = '{"n": 40}'`)
    expect(dead).toHaveLength(1)
  })

  test('puts dead letters back where they came from', async ({ database }) => {
    await using queue = await open(database)
    let fails = true
    const done: number[] = []
    queue.work<Payload>('run_bulk', {
      async handle(batch) {
        if (fails) throw new Error('no')
        done.push(...numbersOf(batch))
      },
    })
    await enqueue(database, queue, [31], 'run_bulk')
    await queue.drain({ retries: true })
    expect(await stateOf(database, 31)).toBe('failed')
    fails = false
    expect(await queue.redrive()).toBeGreaterThan(0)
    await queue.drain()
    expect(done).toContain(31)
  })

  test('gives the jobs of a dead process to another one', async ({ database }) => {
    await using dying = await open(database)
    await using living = await open(database)
    const [taken, never] = [gate(), gate()]
    dying.work<Payload>('run', {
      async handle() {
        taken.open()
        await never.opened
      },
    })
    const done: number[] = []
    living.work<Payload>('run', { handle: async (batch) => void done.push(...numbersOf(batch)) })
    await enqueue(database, dying, [32])
    dying.start()
    await taken.opened
    expect(await living.retryAbandoned(60_000)).toBe(0)
    expect(await living.retryAbandoned(0)).toBeGreaterThan(0)
    // At once, without the pause before a retry.
    await living.drain()
    expect(done).toContain(32)
    never.open()
  })

  test('starts a job of its own process without waiting for the poll', async ({ database }) => {
    await using queue = await open(database)
    const done = gate<number>()
    queue.work<Payload>('run', { handle: async () => done.open(performance.now()) })
    queue.start()
    await enqueue(database, queue, [])
    const start = performance.now()
    await enqueue(database, queue, [50])
    expect((await done.opened) - start).toBeLessThan(300)
  })

  test('hears of jobs of other processes', async ({ database }) => {
    await using topics = openTopics(database.url, { log: silentLog })
    await using worker = await openQueue(database, { log: silentLog, topics })
    await using producer = await open(database)
    const done = gate<number>()
    worker.work<Payload>('run', { handle: async () => done.open(performance.now()) })
    worker.start()
    const start = performance.now()
    await enqueue(database, producer, [60])
    expect((await done.opened) - start).toBeLessThan(300)
  })

  test('goes on when all connections are cut', async ({ database }) => {
    await using topics = openTopics(database.url, { log: silentLog })
    await using queue = await openQueue(database, { log: silentLog, topics })
    const inside = gate()
    const cut = gate()
    const again = gate<number>()
    queue.work<Payload>('run', {
      handle: ({ jobs, complete }) =>
        database.transaction(async (tx) => {
          const job = jobs[0]
          if (job?.payload.n === 70 && job.retryCount === 0) {
            inside.open()
            await cut.opened
          }
          await complete(tx)
          tx.afterCommit(() => job?.payload.n === 70 && again.open(job.retryCount))
        }),
    })
    queue.start()
    await enqueue(database, queue, [70])
    await inside.opened
    await database
      .execute(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid()`,
      )
      .catch(() => {})
    cut.open()
    expect(await again.opened).toBeGreaterThanOrEqual(0)
    expect(await stateOf(database, 70)).toBe('completed')
  })

  test('waits for what is under way when it closes', async ({ database }) => {
    const queue = await open(database)
    const inside = gate()
    const release = gate()
    queue.work<Payload>('run', {
      handle: async ({ signal }) => {
        signal.addEventListener('abort', () => release.open())
        inside.open()
        await release.opened
      },
    })
    queue.start()
    await enqueue(database, queue, [80, 81])
    await inside.opened
    await queue.close()
    expect(await stateOf(database, 80)).toBe('completed')
    expect(await stateOf(database, 81)).toBe('created')
  })
})

test('a lane takes no more than its part of a worker, and others pass', async ({ database }) => {
  await database.query(sql`delete from belfry_queue.job`)
  await using queue = await open(database)
  const started: string[] = []
  const { opened, open: release } = gate()
  queue.work<{ readonly lane?: string }>('deliver', {
    concurrency: 5,
    perLane: 2,
    async handle({ jobs }) {
      started.push(jobs[0]?.payload.lane ?? 'none')
      await opened
    },
  })
  const add = (...lanes: readonly string[]) =>
    database.transaction((tx) =>
      queue.enqueue(
        tx,
        'deliver',
        lanes.map((lane) => (lane === 'none' ? {} : { lane })),
      ),
    )
  await add('a', 'a', 'a', 'a', 'a')
  queue.start()
  await expect.poll(() => started).toEqual(['a', 'a'])
  await add('b', 'none')
  await expect.poll(() => started.toSorted()).toEqual(['a', 'a', 'b', 'none'])
  release()
  await expect.poll(() => started.filter((lane) => lane === 'a')).toHaveLength(5)
})
