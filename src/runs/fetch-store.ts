import { storableValue } from '../channels/exchange.ts'
import type { Queryable, Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import type { EnvironmentName, ProcessId, RunId, StepRef, WorkflowKey } from '../ids.ts'
import { isSilent } from '../messages/leases.ts'
import type { FetchContent } from '../steps/step.ts'
import type { FetchChange, PendingFetch, RunAnswer } from './fetched.ts'
import type { TimelineEvent } from './run.ts'

/** What became of the requests that these runs wait for, by run. */
export async function loadFetches(
  tx: Transaction,
  environment: EnvironmentName,
  ids: readonly RunId[],
): Promise<ReadonlyMap<RunId, PendingFetch>> {
  if (ids.length === 0) return new Map()
  const rows = await tx.query<PendingFetch & { readonly id: RunId }>(sql`
    select run_id as id, request ->> 'method' as method, request ->> 'url' as url, answer,
      inserted_at as "askedAt"
    from fetches
    where environment = ${environment} and run_id = any(${ids}::uuid[])
  `)
  return new Map(rows.map((row) => [row.id, row]))
}

export interface ChangedFetch {
  readonly runId: RunId
  readonly change: FetchChange
}

/** Writes down what these runs ask, and takes away what they have got: three statements at most. */
export async function saveFetches(
  tx: Transaction,
  environment: EnvironmentName,
  changed: readonly ChangedFetch[],
  now: Date,
): Promise<void> {
  const asked = changed.flatMap(({ runId, change }) =>
    change.kind === 'ask' ? [{ runId, ...change }] : [],
  )
  const idsOf = (...kinds: readonly FetchChange['kind'][]) =>
    changed.filter(({ change }) => kinds.includes(change.kind)).map(({ runId }) => runId)
  const kept = idsOf('again', 'keep')
  const done = idsOf('done')
  if (asked.length > 0) {
    await tx.query(sql`
      insert into fetches (environment, run_id, step_ref, request, inserted_at)
      select ${environment}, run_id, step_ref, request, ${now}
      from unnest(${asked.map(({ runId }) => runId)}::uuid[],
        ${asked.map(({ stepRef }) => stepRef)}::text[],
        ${asked.map(({ request }) => JSON.stringify(storableValue(request)))}::jsonb[])
        as i (run_id, step_ref, request)
      -- A run that goes on from one such step to the next.
      on conflict on constraint fetches_pkey do update
      set step_ref = excluded.step_ref, request = excluded.request, calls = 0, claimed_by = null,
        claimed_at = null, answer = null, inserted_at = excluded.inserted_at
    `)
  }
  if (kept.length > 0) {
    await tx.query(sql`
      update fetches set answer = null
      where environment = ${environment} and run_id = any(${kept}::uuid[])
    `)
  }
  await deleteFetches(tx, environment, done)
}

/** Takes away the requests of runs that no longer wait for them; one under way is answered to nobody. */
export async function deleteFetches(
  tx: Transaction,
  environment: EnvironmentName,
  ids: readonly RunId[],
): Promise<void> {
  if (ids.length === 0) return
  await tx.query(sql`
    delete from fetches where environment = ${environment} and run_id = any(${ids}::uuid[])
  `)
}

/** One call of one process; names a claim and nothing else. */
export interface FetchClaim {
  readonly environment: EnvironmentName
  readonly runId: RunId
  readonly calls: number
  readonly process: ProcessId
}

export interface ClaimedFetch extends FetchClaim {
  readonly stepRef: StepRef
  readonly workflow: WorkflowKey
  readonly request: FetchContent
}

/** Gives the process those requests of these runs that are to be made and nobody's, in id order. */
export async function claimFetches(
  tx: Transaction,
  environment: EnvironmentName,
  ids: readonly RunId[],
  by: { readonly process: ProcessId; readonly now: Date },
): Promise<readonly ClaimedFetch[]> {
  const rows = await tx.query<ClaimedFetch>(sql`
    with open as (
      select f.run_id, r.workflow
      from fetches f
      join runs r on r.environment = f.environment and r.id = f.run_id
      where f.environment = ${environment} and f.run_id = any(${ids}::uuid[])
        and f.claimed_by is null and f.answer is null and r.status = 'processing'
      order by f.run_id
      for update of f
    )
    update fetches f
    set calls = f.calls + 1, claimed_by = ${by.process}, claimed_at = ${by.now}
    from open
    where f.environment = ${environment} and f.run_id = open.run_id
    returning f.environment, f.run_id as "runId", f.calls, f.claimed_by as process,
      f.step_ref as "stepRef", open.workflow, f.request
  `)
  return rows.toSorted((one, other) => (one.runId < other.runId ? -1 : 1))
}

/** Those of these runs whose requests the process still holds, and whether they may still be made. */
export async function loadFacts(
  db: Queryable,
  held: {
    readonly environment: EnvironmentName
    readonly ids: readonly RunId[]
    readonly process: ProcessId
    readonly now: Date
  },
): Promise<readonly { readonly id: RunId; readonly stopped: boolean }[]> {
  return db.query(sql`
    select f.run_id as id, w.archived_at is not null or exists (
        select from switches s
        where s.environment = r.environment and s.workflow = r.workflow and s.channel = ''
          and not s.active and (s.expires_at is null or s.expires_at > ${held.now})
      ) as stopped
    from fetches f
    join runs r on r.environment = f.environment and r.id = f.run_id
    left join workflows w on w.environment = r.environment and w.key = r.workflow
    where f.environment = ${held.environment} and f.run_id = any(${held.ids}::uuid[])
      and f.claimed_by = ${held.process}
  `)
}

/** What is to be written at the end of a call: its answer, or null where it was not made after all. */
export interface EndedFetch extends FetchClaim {
  readonly answer: RunAnswer | null
  /** What the timeline says where nobody waits for the answer any more. */
  readonly late: TimelineEvent | null
}

/**
 * Writes answers down and queues the runs that wait for them; where a claim is no longer held nothing happens, but
 * a run that has ended meanwhile notes what came. Answers the runs that go on.
 */
export async function settleFetches(
  tx: Transaction,
  ended: readonly EndedFetch[],
  now: Date,
): Promise<readonly FetchClaim[]> {
  // Runs first and in order, as everybody locks them.
  const runs = await tx.query<{ readonly id: RunId; readonly ended: boolean }>(sql`
    select r.id, r.outcome is not null as ended
    from unnest(${ended.map(({ environment }) => environment)}::text[],
      ${ended.map(({ runId }) => runId)}::uuid[]) as i (environment, id)
    join runs r on r.environment = i.environment and r.id = i.id
    order by r.id
    for update of r
  `)
  const over = new Set(runs.filter((run) => run.ended).map(({ id }) => id))
  await noteLate(
    tx,
    ended.filter(({ runId }) => over.has(runId)),
    now,
  )
  return tx.query<FetchClaim>(sql`
    with settled as (
      update fetches f
      set answer = i.answer, answer_bytes = octet_length(i.answer::text), claimed_by = null, claimed_at = null
      from unnest(${ended.map(({ environment }) => environment)}::text[],
        ${ended.map(({ runId }) => runId)}::uuid[], ${ended.map(({ calls }) => calls)}::integer[],
        ${ended.map(({ process }) => process)}::uuid[],
        ${ended.map(({ answer }) => answer && JSON.stringify(answer))}::jsonb[])
        as i (environment, run_id, calls, process, answer)
      where f.environment = i.environment and f.run_id = i.run_id and f.calls = i.calls
        and f.claimed_by = i.process
      returning f.environment, f.run_id, f.calls, i.process
    )
    update runs r
    set status = 'queued', updated_at = ${now}
    from settled s
    where r.environment = s.environment and r.id = s.run_id and r.status = 'processing'
    returning r.environment, r.id as "runId", s.calls, s.process
  `)
}

/** Says in the timelines of runs that have ended meanwhile what was answered. */
async function noteLate(tx: Transaction, ended: readonly EndedFetch[], now: Date): Promise<void> {
  const late = ended.filter((one) => one.late !== null)
  if (late.length === 0) return
  await tx.query(sql`
    with noted as (
      update runs r set steps = r.steps + 1, updated_at = ${now}
      from unnest(${late.map(({ environment }) => environment)}::text[],
        ${late.map(({ runId }) => runId)}::uuid[],
        ${late.map((one) => JSON.stringify([one.late]))}::jsonb[]) as i (environment, id, events)
      where r.environment = i.environment and r.id = i.id
      returning r.environment, r.id, r.steps - 1 as number, i.events
    )
    insert into run_steps (environment, run_id, number, ref, type, events)
    select environment, id, number, null, null, events from noted
  `)
}

/**
 * The claims of processes without a lease that counts, of all environments, and those that the own process made
 * before `before` and does not know of.
 */
export async function findLostFetches(
  tx: Transaction,
  own: {
    readonly process: ProcessId
    readonly held: readonly RunId[]
    readonly before: Date
  },
  count: number,
): Promise<readonly FetchClaim[]> {
  return tx.query<FetchClaim>(sql`
    select f.environment, f.run_id as "runId", f.calls, f.claimed_by as process
    from fetches f
    where f.claimed_by is not null
      and (
        f.claimed_by = ${own.process} and f.claimed_at < ${own.before}
          and f.run_id <> all(${own.held}::uuid[])
        or ${isSilent(sql`f.claimed_by`)}
      )
    order by f.run_id
    limit ${count}
  `)
}
