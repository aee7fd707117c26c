import { PgBoss } from 'pg-boss'
import { median, perSecond, timed, type Figure } from './figures.ts'
import { isIdle, type Ground } from './ground.ts'

const RECIPIENTS = 20_000
const PER_TRIGGER = 1_000
const ROUNDS = 3
const BATCH_SIZES = [500, 2_000] as const
const POLL_MS = 10

/**
 * Recipient runs a second, from the first trigger call to the last delivered in-app message: data, rendering,
 * timeline and all. Beside it bare pg-boss doing one empty job for each recipient, at its best batch size.
 */
export async function measureRuns(ground: Ground): Promise<Figure> {
  const users = Array.from({ length: RECIPIENTS }, (_, index) => ({
    id: `user-${index}`,
    name: 'Ada',
  }))
  await runAll(ground, users)
  const ids = users.map((user) => user.id)
  const ours: number[] = []
  const bare: number[] = []
  for (let round = 0; round < ROUNDS; round += 1) {
    ours.push(perSecond(RECIPIENTS, await timed(() => runAll(ground, ids))))
    bare.push(await bareRate(ground))
  }
  const [our, peer] = [median(ours), median(bare)]
  return {
    what: 'recipient runs a second, trigger to delivered in-app message',
    ours: `${Math.round(our)}/s`,
    beside: `${Math.round(peer)}/s  bare pg-boss, an empty job each`,
    ratio: `${(our / peer).toFixed(2)} x`,
  }
}

async function runAll(ground: Ground, recipients: readonly (string | object)[]): Promise<void> {
  for (let start = 0; start < recipients.length; start += PER_TRIGGER) {
    const some = recipients.slice(start, start + PER_TRIGGER)
    await ground.post('/v1/workflows/hello/trigger', { recipients: some, data: { word: 'hi' } })
  }
  while (!(await isIdle(ground.database))) await new Promise((done) => setTimeout(done, POLL_MS))
}

async function bareRate(ground: Ground): Promise<number> {
  const boss = new PgBoss({
    connectionString: ground.database.url,
    schema: 'bench',
    supervise: false,
    schedule: false,
  })
  boss.on('error', () => {})
  await boss.start()
  await boss.createQueue('bare')
  const rates: number[] = []
  for (const size of BATCH_SIZES) {
    const jobs = Array.from({ length: size }, () => ({ data: {} }))
    const ms = await timed(async () => {
      for (let done = 0; done < RECIPIENTS; done += size) await boss.insert('bare', jobs)
      for (let done = 0; done < RECIPIENTS; done += size) {
        const fetched = await boss.fetch('bare', { batchSize: size })
        await boss.complete('bare', fetched)
      }
    })
    rates.push(perSecond(RECIPIENTS, ms))
  }
  await boss.stop({ graceful: false })
  return Math.max(...rates)
}
