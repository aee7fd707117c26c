import { scrubExchange, scrubText, scrubValue } from '../channels/exchange.ts'
import { fetchJson, type FetchAnswer } from '../channels/fetch.ts'
import type { Door } from '../channels/door.ts'
import { requireSecret, secretNames, type FindSecret } from '../channels/secret.ts'
import type { Batch, QueueName } from '../db/queue.ts'
import type { Database, Transaction } from '../db/database.ts'
import { messageOf, TerminalFailure } from '../errors.ts'
import type { EnvironmentName, ProcessId, RunId } from '../ids.ts'
import { loadEnvironment } from '../messages/environments.ts'
import { Lanes } from '../messages/lanes.ts'
import type { EnvironmentSettings } from '../workflow/environment.ts'
import {
  enqueueSettled,
  openFetchSettler,
  type FetchSettler,
  type SettlerOptions,
} from './fetch-settler.ts'
import {
  claimFetches,
  findLostFetches,
  loadFacts,
  settleFetches,
  type ClaimedFetch,
} from './fetch-store.ts'
import { failure, fetchId, success, type RunAnswer } from './fetched.ts'
import type { FetchJob } from './jobs.ts'
import type { TimelineEvent } from './run.ts'

export interface FetchOptions extends SettlerOptions {
  /** Its lease must beat, see leases.ts. */
  readonly process: ProcessId
  readonly door: Door
  /** The value of a secret of an environment; undefined where there is none. */
  readonly secret: FindSecret
}

/** What the requests of one process share. */
export interface FetchContext extends FetchOptions {
  /** Those of large triggers have their own, so that they never take all places. */
  readonly lanes: Readonly<Record<'fetch' | 'fetch_bulk', Lanes>>
  readonly settler: FetchSettler
  /** What is being worked on: a claim of this process for another run is one that it does not know of. */
  readonly jobs: Set<FetchJob>
}

/** How many requests one process has under way, in all and to one host. */
const CALLS = {
  fetch: { total: 25, perLane: 10 },
  fetch_bulk: { total: 25, perLane: 10 },
} as const
const JOBS_MAX = 2
/** The age of the facts up to which they are believed. */
const FACTS_MS_MAX = 300
const LOST_PER_PASS = 500

export function openFetching(options: FetchOptions): FetchContext {
  return {
    ...options,
    lanes: { fetch: new Lanes(CALLS.fetch), fetch_bulk: new Lanes(CALLS.fetch_bulk) },
    settler: openFetchSettler(options),
    jobs: new Set(),
  }
}

/** Says who makes the requests of fetch steps. */
export function registerFetchWorkers(ctx: FetchContext): void {
  for (const name of ['fetch', 'fetch_bulk'] as const) {
    ctx.queue.work<FetchJob>(name, {
      concurrency: JOBS_MAX,
      async handle(batch: Batch<FetchJob>) {
        // Batches of these queues hold one job, so its claim may end the batch.
        for (const { payload } of batch.jobs) await callOut(ctx, payload, { name, ...batch })
      },
    })
  }
}

interface Claims {
  readonly environment: EnvironmentName
  readonly settings: EnvironmentSettings
  readonly fetches: readonly ClaimedFetch[]
  readonly name: 'fetch' | 'fetch_bulk'
  /** When the facts were read, and what they say of those that are still this process's. */
  readAt: number
  stopped: ReadonlyMap<RunId, boolean>
  reading: Promise<void> | undefined
}

/**
 * Makes those requests of the job that nobody makes: claims them in one commit, in which `complete` also ends the job;
 * makes them outside any transaction; and writes down what came, which queues their runs. Resolves when all is written.
 */
export async function callOut(
  ctx: FetchContext,
  job: FetchJob,
  options: {
    readonly name: 'fetch' | 'fetch_bulk'
    readonly complete?: (tx: Transaction) => Promise<void>
  },
): Promise<void> {
  ctx.jobs.add(job)
  try {
    const claims = await claim(ctx, job, options)
    if (!claims) return
    const lanes = ctx.lanes[options.name]
    await Promise.all(
      claims.fetches.map((one) => lanes.run(laneOf(one), () => callOne(ctx, claims, one))),
    )
  } finally {
    ctx.jobs.delete(job)
  }
}

function laneOf({ environment, request: { url } }: ClaimedFetch): string {
  return `${environment}/${URL.canParse(url) ? new URL(url).host : ''}`
}

async function claim(
  ctx: FetchContext,
  { environment, runIds }: FetchJob,
  { name, complete }: Parameters<typeof callOut>[2],
): Promise<Claims | undefined> {
  const now = ctx.clock.now()
  return await ctx.database.transaction(async (tx) => {
    const fetches = await claimFetches(tx, environment, runIds, { process: ctx.process, now })
    const live = fetches.length === 0 ? undefined : await loadEnvironment(tx, environment)
    await complete?.(tx)
    if (!live) return undefined
    const { settings } = live
    const claims = { environment, settings, fetches, name, readAt: 0, stopped: new Map() }
    return { ...claims, reading: undefined }
  })
}

/** One that may not be made goes back to its run, which then meets what stands in the way. */
async function callOne(ctx: FetchContext, claims: Claims, fetch: ClaimedFetch): Promise<void> {
  const standing = await freshStanding(ctx, claims, fetch.runId)
  // Its run was cancelled, or another process took it for lost: it is not ours to make.
  if (standing === undefined) return
  const answer = standing === 'open' ? await call(ctx, claims.settings, fetch) : null
  const queue: QueueName = claims.name === 'fetch' ? 'run' : 'run_bulk'
  const late = answer && lateEvent(answer, fetch, ctx.clock.now())
  const bytes = answer?.kind === 'fetched' ? Buffer.byteLength(JSON.stringify(answer)) : 0
  await ctx.settler.settle({ ended: { ...fetch, answer, late }, bytes, queue })
}

/**
 * Whether a request may be made now. Facts older than `FACTS_MS_MAX` are read again, in one query for all that wait,
 * so that no request starts later than a second after a switch was turned.
 */
async function freshStanding(
  ctx: FetchContext,
  claims: Claims,
  id: RunId,
): Promise<'open' | 'stopped' | undefined> {
  while (!ctx.signal.aborted && ctx.clock.now().getTime() - claims.readAt > FACTS_MS_MAX) {
    claims.reading ??= readFacts(ctx, claims).finally(() => {
      claims.reading = undefined
    })
    try {
      await claims.reading
    } catch (error) {
      ctx.log.warn('requests wait: the switches cannot be read', { error: messageOf(error) })
      return 'stopped'
    }
  }
  if (ctx.signal.aborted) return 'stopped'
  const stopped = claims.stopped.get(id)
  return stopped === undefined ? undefined : stopped ? 'stopped' : 'open'
}

async function readFacts(ctx: FetchContext, claims: Claims): Promise<void> {
  const { environment, fetches } = claims
  const now = ctx.clock.now()
  const ids = fetches.map(({ runId }) => runId)
  const facts = await loadFacts(ctx.database, { environment, ids, process: ctx.process, now })
  // The age counts from before the query: a switch turned while it ran may be missing in its answer.
  claims.readAt = now.getTime()
  claims.stopped = new Map(facts.map(({ id, stopped }) => [id, stopped]))
}

/** Makes a request, and takes the secrets out of what comes back. */
async function call(
  ctx: FetchContext,
  settings: EnvironmentSettings,
  { environment, runId, stepRef, request }: ClaimedFetch,
): Promise<RunAnswer> {
  const used: string[] = []
  const read = (variable: string) => {
    const value = valueOf(ctx, environment, { settings, variable })
    used.push(value)
    return value
  }
  try {
    const answer = await fetchJson(request, {
      id: fetchId(runId, stepRef),
      signingSecret: request.signWith === null ? undefined : read(request.signWith),
      secret: read,
      now: ctx.clock.now(),
      door: ctx.door,
      signal: ctx.signal,
    })
    // Nobody knows how far a request came that this process gave up.
    if (ctx.signal.aborted && answer.kind === 'failed') return { kind: 'lost' }
    return scrubbed(answer, used)
  } catch (error) {
    const details = scrubText(messageOf(error), used)
    if (!(error instanceof TerminalFailure))
      ctx.log.warn('a request failed in an unforeseen way', { run: runId, details })
    return { kind: 'failed', details, exchange: null }
  }
}

/** The value of a variable that may be a secret. Throws a `TerminalFailure` where it is not set. */
function valueOf(
  ctx: FetchContext,
  environment: EnvironmentName,
  { settings, variable }: { readonly settings: EnvironmentSettings; readonly variable: string },
): string {
  const held = Object.hasOwn(settings.variables, variable)
    ? settings.variables[variable]
    : undefined
  if (held === undefined) throw new TerminalFailure(`the variable ${variable} is not set`)
  if ('value' in held) {
    if (typeof held.value === 'string' && held.value !== '') return held.value
    throw new TerminalFailure(`the variable ${variable} is no text`)
  }
  const [name = ''] = secretNames(held)
  return requireSecret(ctx.secret, environment, name)
}

function scrubbed(answer: FetchAnswer, secrets: readonly string[]): FetchAnswer {
  if (answer.kind === 'fetched') {
    const { value } = answer
    const exchange = scrubExchange(answer.exchange, secrets)
    return {
      kind: 'fetched',
      value: value === undefined ? undefined : scrubValue(value, secrets),
      exchange,
    }
  }
  const details = scrubText(answer.details, secrets)
  if (answer.kind === 'throttled')
    return { ...answer, details, exchange: scrubExchange(answer.exchange, secrets) }
  return {
    ...answer,
    details,
    exchange: answer.exchange && scrubExchange(answer.exchange, secrets),
  }
}

function lateEvent(answer: RunAnswer, { stepRef }: ClaimedFetch, now: Date): TimelineEvent {
  const { event, status, data } =
    answer.kind === 'fetched' ? success(answer, { into: null, keys: null }) : failure(answer)
  return { event, status, attempt: 1, data: { step: stepRef, ...data }, at: now.toISOString() }
}

/**
 * One pass of the loop that takes over the requests of dead processes, and what this one holds without knowing: they
 * count as an attempt without an answer. `now` is the time at the call. Answers how many runs go on.
 */
export async function releaseDeadFetches(
  ctx: Pick<FetchContext, 'queue' | 'process' | 'jobs'> & { readonly database: Database },
  now: Date,
): Promise<number> {
  const { database, queue, process } = ctx
  return await database.transaction(async (tx) => {
    const held = [...ctx.jobs].flatMap(({ runIds }) => runIds)
    const lost = await findLostFetches(tx, { process, held, before: now }, LOST_PER_PASS)
    if (lost.length === 0) return 0
    const answer = { kind: 'lost' } as const
    const ended = lost.map((claimed) => ({ ...claimed, answer, late: null }))
    const settled = await settleFetches(tx, ended, now)
    await enqueueSettled(tx, { queue, name: 'run' }, settled)
    return settled.length
  })
}
