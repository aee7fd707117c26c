import { setTimeout as pause } from 'node:timers/promises'
import { expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { flowFiles } from '../support/flow.ts'
import { startHttp } from '../support/http.ts'
import { testRepository, type Files, type TestRepository } from '../support/repository.ts'
import { openFleet, type Fleet, type Served } from '../support/served.ts'
import { countOpen, expectNothingLostOrDoubled, randomFrom, triggerAll } from './crash-scene.ts'

/** What `flowFiles` says, with one mark in the settings and in every workflow: a mix of two revisions shows. */
export function markedFiles(hookUrl: string, mark: string): Files {
  const files = Object.entries(flowFiles(hookUrl))
  return Object.fromEntries(
    files.map(([path, text]) => [
      path,
      (text as string)
        .replace(/^name: (\w+)$/m, `name: $1 ${mark}`)
        .replace('variables:\n', `variables:\n  mark: { value: ${mark} }\n`),
    ]),
  )
}

/** The marks of pushed revisions. */
export type Marks = Map<string, string>

/** Pushes a revision whose files all bear a mark of their own. */
export async function pushMarked(
  repository: TestRepository,
  hookUrl: string,
  marks: Marks,
): Promise<string> {
  const mark = `m${marks.size}`
  const revision = await repository.commit(markedFiles(hookUrl, mark))
  marks.set(revision, mark)
  return revision
}

export interface Seen {
  readonly revision: string | null
  readonly sequence: string
}

/** What a reader sees of production in one snapshot, statement by statement; throws at a mix of revisions. */
export async function readWhole(database: Database, marks: Marks): Promise<Seen | undefined> {
  return database.transaction(async (tx) => {
    await tx.execute('set transaction isolation level repeatable read')
    const [seen] = await tx.query<Seen & { readonly mark: string }>(sql`
      select observed_revision as revision, sequence::text as sequence,
        settings #>> '{variables,mark,value}' as mark
      from environments where name = 'production'`)
    if (!seen?.revision) return undefined
    const names = await tx.query<{ mark: string; sequence: string }>(sql`
      select split_part(v.workflow ->> 'name', ' ', 2) as mark, w.sequence::text as sequence
      from workflows w join versions v on v.id = w.version_id
      where w.environment = 'production' and w.archived_at is null`)
    const found = [seen.mark, ...names.map(({ mark }) => mark)]
    const mark = marks.get(seen.revision) ?? seen.mark
    expect({ seen, found }).toEqual({ seen, found: [mark, mark, mark] })
    expect(names.map(({ sequence }) => sequence)).toEqual([seen.sequence, seen.sequence])
    return seen
  })
}

/** Reads again and again until it is told to end; answers how often, and how many revisions it saw. */
export function startReader(database: Database, marks: Marks) {
  const revisions = new Set<string>()
  let reads = 0
  const state = { isEnding: false }
  const run = async () => {
    while (!state.isEnding) {
      const seen = await readWhole(database, marks)
      reads += 1
      if (seen?.revision) revisions.add(seen.revision)
      await pause(2)
    }
  }
  const running = run()
  // It is awaited at the end; until then a failure is not unhandled.
  running.catch(() => {})
  return {
    async end() {
      state.isEnding = true
      await running
      return { reads, revisions: revisions.size }
    },
  }
}

const FENCE = /"fence":"(\d+)"/g

/** The process that leads by what Postgres says; undefined where it is none of these. */
export async function findLeader(
  database: Database,
  all: readonly Served[],
): Promise<Served | undefined> {
  const fence = await loadFence(database)
  return all.find((one) => [...one.log().matchAll(FENCE)].at(-1)?.[1] === fence)
}

export async function loadFence(database: Database): Promise<string | undefined> {
  const [row] = await database.query<{ fence: string }>(
    sql`select fence::text as fence from reconcilers`,
  )
  return row?.fence
}

export async function waitForLeader(database: Database, all: () => readonly Served[]) {
  let leader: Served | undefined
  await expect
    .poll(async () => (leader = await findLeader(database, all())) !== undefined, {
      timeout: 15_000,
      interval: 20,
    })
    .toBe(true)
  return leader!
}

/** Waits until production has applied a revision, and answers how long that took, in milliseconds. */
export async function waitForRevision(database: Database, revision: string, timeoutMs = 20_000) {
  const from = performance.now()
  const observed = async () => {
    const [row] = await database.query<{ revision: string }>(
      sql`select observed_revision as revision from environments where name = 'production'`,
    )
    return row?.revision
  }
  await expect.poll(observed, { timeout: timeoutMs, interval: 10 }).toBe(revision)
  return Math.round(performance.now() - from)
}

/** No revision was applied twice, and no sequence is missing. */
export async function expectAppliedOnce(database: Database): Promise<number> {
  const rows = await database.query<{ revision: string; sequence: number }>(sql`
    select revision, sequence::integer as sequence
    from revisions where environment = 'production' order by sequence`)
  expect(rows.map(({ sequence }) => sequence)).toEqual(rows.map((_, index) => index + 1))
  expect(new Set(rows.map(({ revision }) => revision)).size).toBe(rows.length)
  return rows.length
}

export interface ManyPlan {
  readonly seed: number
  /** So many at least, and as many more as these seconds need. */
  readonly rounds: number
  readonly secondsMin?: number
  readonly triggers: readonly number[]
  /** How long a process stands still, at most. */
  readonly freezeMsMax: number
  /** Between two rounds, at most. */
  readonly pauseMsMax: number
}

const PROCESSES = 3

/**
 * Three processes on one Postgres and one repository. In each round the leader, or another one, is
 * killed or stands still for a while at a moment of chance, and a revision is pushed.
 */
export async function disturbMany(database: Database, plan: ManyPlan) {
  const random = randomFrom(plan.seed)
  await using hook = await startHttp()
  await using repository = await testRepository()
  await using fleet = openFleet()
  const marks: Marks = new Map()
  let tip = await pushMarked(repository, hook.url, marks)
  const serve = () => fleet.serve({ repo: repository.path, databaseUrl: database.url })
  let all = await Promise.all(Array.from({ length: PROCESSES }, serve))
  const reader = startReader(database, marks)
  const pick = () => all[Math.floor(random() * all.length)]!
  const pauseMsMax = plan.pauseMsMax / 2
  const triggering = triggerAll(() => pick().url, { ...plan, pauseMsMax }, random)
  triggering.catch(() => {})
  const until = performance.now() + (plan.secondsMin ?? 0) * 1_000
  let round = 0
  for (; round < plan.rounds || performance.now() < until; round += 1) {
    const victim = random() < 0.7 ? await waitForLeader(database, () => all) : pick()
    tip = await pushMarked(repository, hook.url, marks)
    await pause(random() * 250)
    if (random() < 0.5) {
      await victim.kill()
      all = all.filter((one) => one !== victim)
      all.push(await serve())
    } else {
      victim.freeze()
      await pause(random() * plan.freezeMsMax)
      victim.thaw()
    }
    await pause(random() * plan.pauseMsMax)
  }
  const answered = await triggering
  tip = await pushMarked(repository, hook.url, marks)
  await waitForRevision(database, tip)
  const total = plan.triggers.reduce((sum, count) => sum + count, 0)
  await expect.poll(() => countOpen(database, total), { timeout: 60_000, interval: 100 }).toBe(0)
  const { reads } = await reader.end()
  await expectNothingLostOrDoubled(database, hook, { answered, triggers: plan.triggers })
  const applied = await expectAppliedOnce(database)
  const fence = await loadFence(database)
  console.log(
    `${round} rounds (seed ${plan.seed}): ${marks.size} pushed, ${applied} applied, ${fence} leaders, ${reads} whole reads, ${total} recipients`,
  )
  return { applied, pushed: marks.size, reads }
}

/** Three processes, and the leader among them. */
export async function startThree(fleet: Fleet, database: Database, repository: TestRepository) {
  const options = { repo: repository.path, databaseUrl: database.url }
  const all = await Promise.all(Array.from({ length: PROCESSES }, () => fleet.serve(options)))
  return { all, leader: await waitForLeader(database, () => all) }
}
