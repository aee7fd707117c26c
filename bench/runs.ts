import { PgBoss } from 'pg-boss'
import { atLeast, median, perSecond, timed, times, type Figure } from './figures.ts'
import { jobEachRate } from './graphile.ts'
import { isIdle, type Ground } from './ground.ts'

const RECIPIENTS = 20_000
const PER_TRIGGER = 1_000
const ROUNDS = 3
const BATCH_SIZES = [500, 2_000] as const
const POLL_MS = 10

/**
 * Recipient runs a second, from the first trigger call to the last delivered in-app message: data, rendering,
 * timeline and all. Beside it bare pg-boss doing one empty job for each recipient, at its best batch size, and
 * graphile-worker doing one job for each recipient that writes the same rows.
 */
export async function measureRuns(ground: Ground): Promise<readonly Figure[]> {
  const ids = await makeUsers(ground)
  const ours: number[] = []
  const bare: number[] = []
  const jobs: number[] = []
  for (let round = 0; round < ROUNDS; round += 1) {
    ours.push(await rateOf(ground, ids))
    bare.push(await bareRate(ground))
    jobs.push(await jobEachRate(ground.database))
  }
  const our = median(ours)
  const beside = (rates: readonly number[], peer: string, reach: number): Figure => ({
    what: 'recipient runs, trigger to delivered in-app message',
    ours: perSecondText(our),
    beside: `${perSecondText(median(rates))}  ${peer}`,
    ratio: times(our, median(rates)),
    reach: atLeast(our / median(rates), reach),
  })
  return [
    beside(bare, 'bare pg-boss, an empty job each', 1.5),
    beside(jobs, 'graphile-worker, a job each with the same writes', 8),
  ]
}

/** The same with a second process that works beside this one. */
export async function measureProcesses(ground: Ground): Promise<readonly Figure[]> {
  const ids = await makeUsers(ground)
  const one: number[] = []
  const two: number[] = []
  for (let round = 0; round < ROUNDS; round += 1) {
    one.push(await rateOf(ground, ids))
    await using other = ground.another()
    await other.looked
    await runAll(ground, ids)
    two.push(await rateOf(ground, ids))
  }
  return [
    {
      what: 'recipient runs with two processes',
      ours: perSecondText(median(two)),
      beside: `${perSecondText(median(one))}  one process`,
      ratio: times(median(two), median(one)),
      reach: atLeast(median(two) / median(one), 1.6),
    },
  ]
}

function perSecondText(rate: number): string {
  return `${Math.round(rate)}/s`
}

async function rateOf(ground: Ground, ids: readonly string[]): Promise<number> {
  return perSecond(ids.length, await timed(() => runAll(ground, ids)))
}

async function makeUsers(ground: Ground): Promise<readonly string[]> {
  const ids = Array.from({ length: RECIPIENTS }, (_, index) => `user-${index}`)
  await runAll(
    ground,
    ids.map((id) => ({ id, name: 'Ada' })),
  )
  return ids
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
