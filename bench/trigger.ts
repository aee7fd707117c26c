import { Client } from 'pg'
import { connectionSettings } from '../src/db/database.ts'
import { median, milliseconds, timed, times, type Figure } from './figures.ts'
import type { Ground } from './ground.ts'

const CALLS = 400
const WARM_UP = 100
const RATIO_MAX = 6

/** One trigger call for one recipient, idle, with the idempotency key that SDKs send; beside it one bare insert-and-commit. */
export async function measureTrigger(ground: Ground): Promise<readonly Figure[]> {
  await using bare = await openBare(ground)
  const call = () =>
    ground.post('/v1/workflows/hello/trigger', { recipients: ['user-1'], data: { word: 'hi' } })
  const ours: number[] = []
  const beside: number[] = []
  for (let index = -WARM_UP; index < CALLS; index += 1) {
    const [our, peer] = [await timed(call), await timed(bare.insert)] as const
    // What a trigger sets off shall not disturb the next pair.
    await new Promise((done) => setTimeout(done, 10))
    if (index < 0) continue
    ours.push(our)
    beside.push(peer)
  }
  const [our, peer] = [median(ours), median(beside)]
  return [
    {
      what: 'trigger call with idempotency key, one recipient, idle, p50',
      ours: milliseconds(our),
      beside: `${milliseconds(peer)}  bare insert and commit`,
      ratio: times(our, peer),
      reach: { text: `<= ${RATIO_MAX} x`, met: our <= RATIO_MAX * peer },
    },
  ]
}

/** What Postgres needs to keep one row. */
export interface Bare extends AsyncDisposable {
  readonly insert: () => Promise<unknown>
}

export async function openBare({ database }: Ground): Promise<Bare> {
  const client = new Client(connectionSettings(database.url))
  await client.connect()
  await client.query('create table bench_rows (id uuid primary key, body jsonb)')
  return {
    insert: () =>
      client.query({
        name: 'bench',
        text: 'insert into bench_rows (id, body) values ($1, $2)',
        values: [crypto.randomUUID(), '{"word":"hi"}'],
      }),
    async [Symbol.asyncDispose]() {
      await client.query('drop table bench_rows')
      await client.end()
    },
  }
}
