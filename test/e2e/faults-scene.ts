import { setTimeout as pause } from 'node:timers/promises'
import { Client } from 'pg'
import { expect } from 'vitest'
import { connectionSettings, type Database } from '../../src/db/database.ts'
import { messageOf } from '../../src/errors.ts'
import { sql } from '../../src/db/sql.ts'
import { cutConnections } from '../support/database.ts'
import { call } from '../support/flow.ts'
import { startHttp, type Responder } from '../support/http.ts'
import { random, type Random } from '../support/random.ts'
import { testRepository, type Files } from '../support/repository.ts'
import { openFleet, type Fleet, type ServeOptions, type Served } from '../support/served.ts'
import { smtpAnswer, startSmtp, type SmtpFake } from '../support/smtp.ts'
import { expectAllInOrder } from './faults-verdict.ts'

export interface FaultPlan {
  readonly seed: number
  readonly recipients: number
  /** How many recipients one call names. */
  readonly group: number
  /** How often each recipient is triggered for. */
  readonly times: number
  readonly kills: number
  readonly cuts: number
  /** How long the tables of the queue stay locked. */
  readonly lockMs: number
  /** Between two faults, at most. */
  readonly pauseMsMax: number
  /** From the last fault until everything has ended. */
  readonly recoveryMsMax: number
}

const PROCESSES = 3
/** Every so manieth recipient gets a mail as well. */
const MAILED = 40
const BETWEEN_TRIGGERS_MS = 500

/** A workflow with all that waits, counts and sends. */
function files(hookUrl: string, smtpPort: number): Files {
  return {
    'environments/production.yaml': `ref: main
variables:
  hook_url: { value: ${hookUrl} }
channels:
  feed: { type: in_app, provider: in_app }
  hook: { type: webhook, provider: webhook }
  mail: { type: email, provider: smtp, settings: { host: 127.0.0.1, port: ${smtpPort}, from: hello@example.com } }
`,
    'workflows/everything/workflow.yaml': `name: Everything
steps:
  - { ref: feed, type: in_app, body: "{{data.n}}" }
  - { ref: digest, type: batch, window: 5s, render_limit: 100 }
  - { ref: calm, type: throttle, window: 1h, limit: 1 }
  - { ref: rest, type: delay, for: 1s }
  - ref: call
    type: webhook
    url: "{{vars.hook_url}}/{{recipient.id}}"
    body: { total: "{{total_activities}}", numbers: "{{#each activities}}{{data.n}} {{/each}}" }
  - ref: mail
    type: email
    subject: "{{total_activities}} for {{recipient.id}}"
    markdown: Hello
    conditions: { all: [{ variable: recipient.email, operator: exists }] }
`,
  }
}

/** Triggers while processes die, connections are cut and the queue is locked, and then judges what came of it. */
export async function disturb(database: Database, plan: FaultPlan) {
  const chance = random(plan.seed)
  await using hook = await startHttp(hangingNowAndThen(random(plan.seed + 1)))
  await using smtp = await startHangingSmtp(random(plan.seed + 2))
  await using repository = await testRepository()
  await repository.commit(files(hook.url, smtp.port))
  await using fleet = openFleet()
  const options = { repo: repository.path, databaseUrl: database.url }
  const crew: Served[] = await Promise.all(
    Array.from({ length: PROCESSES }, () => fleet.serve(options)),
  )
  await waitUntilReady(crew[0]!)
  const from = performance.now()
  const triggering = triggerEveryone(() => chance.pick(crew).url, plan)
  // It is awaited below; until then a failure is not unhandled.
  triggering.catch(() => {})
  for (const fault of shuffled(
    faultsOf(plan, { database, fleet, crew, options, chance }),
    chance,
  )) {
    await pause(chance.next() * plan.pauseMsMax)
    await fault()
  }
  const answered = await triggering
  const quietAt = performance.now()
  await expect
    .poll(() => countOpen(database), { timeout: plan.recoveryMsMax, interval: 250 })
    .toEqual({ runs: 0, messages: 0 })
  const recoveredMs = Math.round(performance.now() - quietAt)
  const repeats = await expectAllInOrder(database, { answered, hook, smtp, ...plan })
  console.log(
    `${plan.kills} kills, ${plan.cuts} cuts, one lock of ${plan.lockMs} ms: ${plan.recipients} recipients and ${plan.recipients * plan.times} runs in ${Math.round(performance.now() - from)} ms, the last ${recoveredMs} ms of it without faults; ${JSON.stringify(repeats)}`,
  )
  return { recoveredMs, ...repeats }
}

interface Stage {
  readonly database: Database
  readonly fleet: Fleet
  /** Those that run; one that was killed is replaced. */
  readonly crew: Served[]
  readonly options: ServeOptions
  readonly chance: Random
}

type Fault = () => Promise<void>

function faultsOf(plan: FaultPlan, { database, fleet, crew, options, chance }: Stage): Fault[] {
  const kill = async () => {
    const at = chance.below(crew.length)
    await crew[at]!.kill()
    crew[at] = await fleet.serve(options)
  }
  return [
    ...Array.from({ length: plan.kills }, () => kill),
    ...Array.from({ length: plan.cuts }, () => () => cutConnections(database)),
    () => lockQueue(database, plan.lockMs),
  ]
}

function shuffled<T>(values: readonly T[], { next }: Random): readonly T[] {
  return values
    .map((value) => ({ value, place: next() }))
    .toSorted((a, b) => a.place - b.place)
    .map(({ value }) => value)
}

/** Keeps everybody from the tables of the queue for a while. */
async function lockQueue(database: Database, ms: number): Promise<void> {
  const client = new Client(connectionSettings(database.url))
  client.on('error', () => {})
  await client.connect()
  try {
    const { rows } = await client.query<{ name: string }>(
      `select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname = 'belfry_queue'`,
    )
    const names = rows.map(({ name }) => name).join(', ')
    await client.query(`begin; lock table ${names} in access exclusive mode`)
    await pause(ms)
  } finally {
    await client.end()
  }
}

/** Answers late, breaks off or does not answer at all, once for a path. */
function hangingNowAndThen({ next }: Random): Responder {
  const seen = new Set<string>()
  return async ({ path }, response) => {
    const fate = seen.has(path) ? 1 : next()
    seen.add(path)
    if (fate < 0.002) return
    if (fate < 0.006) await pause(2_000 + fate * 1_000_000)
    if (fate >= 0.006 && fate < 0.01) {
      response.destroy()
      return
    }
    response.writeHead(200).end()
  }
}

/** Takes a mail, and now and then says so late or asks for it again. */
function startHangingSmtp({ next }: Random): Promise<SmtpFake> {
  return startSmtp({
    async answer() {
      const fate = next()
      if (fate < 0.05) await pause(3_000)
      return fate > 0.95 ? smtpAnswer(451, 'try again') : undefined
    },
  })
}

async function waitUntilReady({ url }: Served): Promise<void> {
  const isLive = async () => (await call(url, { path: '/v1/workflows/everything' })).status === 200
  await expect.poll(isLive, { timeout: 30_000 }).toBe(true)
}

/**
 * Who is triggered for: `r0`, `r1` and so on; some of them have an address. First each group twice on end, so that
 * they meet in a batch, and then again and again.
 */
function recipientsOf({ recipients, group }: FaultPlan, index: number): readonly object[] {
  const groups = recipients / group
  const first = (index < 2 * groups ? Math.floor(index / 2) : index % groups) * group
  return Array.from({ length: group }, (_, place) => {
    const number = first + place
    const id = `r${number}`
    return { id, ...(number % MAILED === 0 && { email: `${id}@example.com` }) }
  })
}

/** Calls until each trigger is answered, with one idempotency key for each, whatever is broken meanwhile. */
async function triggerEveryone(url: () => string, plan: FaultPlan): Promise<readonly string[]> {
  const answered: string[] = []
  const count = (plan.recipients / plan.group) * plan.times
  for (let index = 0; index < count; index += 1) {
    const request = {
      method: 'POST' as const,
      path: '/v1/workflows/everything/trigger',
      body: { recipients: recipientsOf(plan, index), data: { n: index } },
      idempotencyKey: `trigger-${index}`,
    }
    for (;;) {
      const reply = await call(url(), request).catch((error: unknown) => messageOf(error))
      if (typeof reply !== 'string' && reply.status === 200) {
        answered.push(String(reply.body['workflow_run_id']))
        break
      }
      // An answer of the program that another try does not change.
      if (typeof reply !== 'string' && reply.status < 500 && reply.status !== 409)
        throw new Error(`${reply.status} ${JSON.stringify(reply.body)}`)
      await pause(100)
    }
    await pause(BETWEEN_TRIGGERS_MS)
  }
  return answered
}

/** How much has not come to its end. */
async function countOpen(database: Database) {
  const [open] = await database.query<{ runs: number; messages: number }>(sql`
    select (select count(*)::integer from runs where environment = 'production' and finished_at is null)
        + (select count(*)::integer from workflow_runs
           where environment = 'production' and fan_out = 'pending') as runs,
      (select count(*)::integer from messages
       where environment = 'production' and status in ('queued', 'delivery_attempted')) as messages`)
  return open
}
