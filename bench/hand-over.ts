import { sql } from '../src/db/sql.ts'
import { median, quantile, spread, timed, times, within, type Figure } from './figures.ts'
import { ENVIRONMENT, isIdle, type Ground } from './ground.ts'

const CALLS = 300
const WARM_UP = 50
const PAUSE_MS = 10
const CROWD = 100_000
const NEWCOMER_PAUSE_MS = 50
const P50_MS = 15
const P99_MS = 50
const NEWCOMER_P99_MS = 150

/** From the trigger call to the moment at which the provider's service gets the message, idle; beside it a request to that service. */
export async function measureHandOver(ground: Ground): Promise<readonly Figure[]> {
  await ground.post('/v1/workflows/call/trigger', { recipients: [{ id: 'someone', name: 'Ada' }] })
  const ours: number[] = []
  const bare: number[] = []
  for (let index = -WARM_UP; index < CALLS; index += 1) {
    const our = await handOver(ground)
    const peer = await timed(() => fetch(`${ground.service.url}/nobody`).then((r) => r.text()))
    await pause(PAUSE_MS)
    if (index < 0) continue
    ours.push(our)
    bare.push(peer)
  }
  return [
    {
      what: 'trigger call to hand-over, idle, p50 / p99',
      ours: spread(ours),
      beside: `${spread(bare)}  bare request to the same service`,
      ratio: times(median(ours), median(bare)),
      reach: within([median(ours), P50_MS], [quantile(ours, 0.99), P99_MS]),
    },
  ]
}

/** The same of a trigger for one, while one for very many runs; beside it the same without them. */
export async function measureNewcomer(ground: Ground): Promise<readonly Figure[]> {
  await ground.post('/v1/workflows/call/trigger', { recipients: [{ id: 'someone', name: 'Ada' }] })
  await makeCrowd(ground)
  const idle: number[] = []
  for (let index = 0; index < CALLS; index += 1) {
    idle.push(await handOver(ground))
    await pause(PAUSE_MS)
  }
  const recipients = [{ collection: 'pages', id: 'crowd' }]
  await ground.post('/v1/workflows/hello/trigger', { recipients, data: { word: 'hi' } })
  const start = performance.now()
  const ours: number[] = []
  while (!(await isIdle(ground.database))) {
    ours.push(await handOver(ground))
    await pause(NEWCOMER_PAUSE_MS)
  }
  const seconds = (performance.now() - start) / 1_000
  const p99 = quantile(ours, 0.99)
  return [
    {
      what: `the same while a trigger for ${CROWD} runs (${seconds.toFixed(0)} s, ${ours.length} calls)`,
      ours: spread(ours),
      beside: `${spread(idle)}  idle`,
      ratio: times(p99, quantile(idle, 0.99)),
      reach: { text: `p99 <= ${NEWCOMER_P99_MS} ms`, met: p99 <= NEWCOMER_P99_MS },
    },
  ]
}

async function handOver(ground: Ground): Promise<number> {
  const arrived = ground.service.next('someone')
  const start = performance.now()
  await ground.post('/v1/workflows/call/trigger', { recipients: ['someone'] })
  return (await arrived) - start
}

/** An object that very many users are subscribed to. */
async function makeCrowd({ database }: Ground): Promise<void> {
  await database.query(sql`
    insert into recipients (environment, collection, id, properties, created_at, updated_at)
    select ${ENVIRONMENT}, '$users', 'crowd-' || n, '{"name": "Ada"}', now(), now()
    from generate_series(1, ${CROWD}::integer) n
  `)
  await database.query(sql`
    insert into recipients (environment, collection, id, properties, created_at, updated_at)
    values (${ENVIRONMENT}, 'pages', 'crowd', '{}', now(), now())
  `)
  await database.query(sql`
    insert into subscriptions (environment, object_collection, object_id, collection, recipient, id,
      properties, inserted_at, updated_at)
    select ${ENVIRONMENT}, 'pages', 'crowd', '$users', 'crowd-' || n, gen_random_uuid(), '{}', now(), now()
    from generate_series(1, ${CROWD}::integer) n
  `)
  await database.execute('analyze')
}

function pause(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms))
}
