import { Client } from 'pg'
import { connectionSettings } from '../src/db/database.ts'
import { median, milliseconds, timed, type Figure } from './figures.ts'
import type { Ground } from './ground.ts'

const CALLS = 400
const WARM_UP = 100

/** One trigger call for one recipient, idle, with the idempotency key that SDKs send; beside it one bare insert-and-commit. */
export async function measureTrigger(ground: Ground): Promise<Figure> {
  const client = new Client(connectionSettings(ground.database.url))
  await client.connect()
  await client.query('create table if not exists bench_rows (id uuid primary key, body jsonb)')
  const insert = () =>
    client.query({
      name: 'bench',
      text: 'insert into bench_rows (id, body) values ($1, $2)',
      values: [crypto.randomUUID(), '{"word":"hi"}'],
    })
  const call = () =>
    ground.post('/v1/workflows/hello/trigger', { recipients: ['user-1'], data: { word: 'hi' } })
  const ours: number[] = []
  const bare: number[] = []
  for (let index = -WARM_UP; index < CALLS; index += 1) {
    const times = [await timed(call), await timed(insert)] as const
    // What a trigger sets off shall not disturb the next pair.
    await new Promise((done) => setTimeout(done, 10))
    if (index < 0) continue
    ours.push(times[0])
    bare.push(times[1])
  }
  await client.query('drop table bench_rows')
  await client.end()
  const [our, peer] = [median(ours), median(bare)]
  return {
    what: 'trigger call with idempotency key, one recipient, idle, p50',
    ours: milliseconds(our),
    beside: `${milliseconds(peer)}  bare insert and commit`,
    ratio: `${(our / peer).toFixed(1)} x`,
  }
}
