import { stopwatch } from '../clock.ts'
import type { RunId } from '../ids.ts'
import type { Transaction } from '../db/database.ts'
import type { Queue } from '../db/queue.ts'
import type { Links } from '../messages/links.ts'
import { insertShortLinks } from '../messages/short-links.ts'
import { insertMessages } from '../messages/store.ts'
import type { Recipient } from '../recipients/recipient.ts'
import { upsertRecipients } from '../recipients/store.ts'
import { loadChunk, type Chunk } from './chunk.ts'
import { Batches } from './batches.ts'
import { NestedTriggers } from './nested.ts'
import { Gates, type Answer, type Request } from './gates.ts'
import { unreachable } from '../errors.ts'
import { saveFetches } from './fetch-store.ts'
import { fetchJobs, runJobs } from './jobs.ts'
import type { QueuedRun } from './run.ts'
import { secretPlaceholders } from './scope.ts'
import { saveRuns } from './store.ts'
import { inTurns } from './turns.ts'
import { saveWaits } from './wait-store.ts'
import { eventsOf } from './waiting.ts'
import { noteEvents } from '../messages/happenings.ts'
import { walk, type Walk, type Walking } from './walk.ts'

/** So many requests of one chunk, and they are those of a large trigger. */
const FETCHES_BULK_MIN = 21

/** What executing runs needs beside Postgres. */
export interface RunDeps {
  readonly queue: Queue
  readonly dryRun?: boolean
  /** What links to us are made with; none are where it is left out. */
  readonly links?: Links | undefined
  /** Recipients that the transaction has read already. */
  readonly known?: readonly Recipient[]
}

/** How much the runs of one transaction may make: messages, and what they change of their data and of recipients. */
const MADE_BYTES_MAX = 16 * 1024 * 1024

/** For how long the runs of one transaction may be worked on, while others wait for its locks; one run may take longer. */
const WORK_MS_MAX = 1_000

/** What came of executing runs. */
export interface Executed {
  /** Those that were not begun, since the others have made or taken so much. */
  readonly left: readonly RunId[]
  /** How much the others made. */
  readonly bytes: number
}

/**
 * Takes locked, queued runs of one environment as far as they go, and writes all of it in the caller's
 * transaction: recipients, messages, timeline, runs and the jobs that hand the messages over. The number of
 * statements does not depend on the number of runs.
 */
export async function executeRuns(
  deps: RunDeps,
  tx: Transaction,
  runs: readonly QueuedRun[],
  now: Date,
): Promise<Executed> {
  const environment = runs[0]?.environment
  if (environment === undefined) return { left: [], bytes: 0 }
  const loaded = await loadChunk(tx, environment, { runs, known: deps.known ?? [] }, now)
  const made = { bytes: 0 }
  const chunk = { ...loaded, dryRun: deps.dryRun === true, links: deps.links ?? null, made }
  const { walks: walked, toLook, nested } = await walkAll(tx, chunk, runs)
  const walks = walked.map((each) => each.walk)
  const messages = walks.flatMap((each) => each.messages)
  const updates = [...walks.flatMap((each) => each.updates), ...nested.entities]
  await upsertRecipients(tx, environment, updates, now)
  const jobs = await insertMessages(tx, messages, now)
  const shortLinks = messages.flatMap((message) => message.shortLinks ?? [])
  await insertShortLinks(tx, shortLinks, now)
  await saveRuns(
    tx,
    environment,
    walks.map((each) => each.result),
    now,
  )
  const calling = await askOut(tx, chunk, walks)
  await deps.queue.enqueue(tx, 'deliver', jobs)
  const queue = calling.length < FETCHES_BULK_MIN ? 'fetch' : 'fetch_bulk'
  await deps.queue.enqueue(tx, queue, fetchJobs(environment, calling))
  await saveWaits(
    tx,
    environment,
    walks.flatMap((each) => each.waits),
  )
  const results = walked.map(({ before, walk: { result } }) => ({ before, result }))
  await noteEvents(tx, eventsOf(chunk, results, messages), now)
  const started = await nested.save(tx)
  await deps.queue.enqueue(tx, 'run', [...runJobs(environment, toLook), ...started.run])
  await deps.queue.enqueue(tx, 'run_bulk', started.run_bulk)
  const begun = new Set(walked.map(({ before }) => before))
  const left = runs.filter((run) => !begun.has(run)).map(({ id }) => id)
  return { left, bytes: made.bytes }
}

/** Writes down what is to be asked, and takes away what was answered. Answers the runs whose requests are to be made. */
async function askOut(
  tx: Transaction,
  { environment, now }: Chunk,
  walks: readonly Walk[],
): Promise<readonly RunId[]> {
  const changed = walks.flatMap(({ fetch: change, result }) =>
    change === null ? [] : [{ runId: result.run.id, change }],
  )
  await saveFetches(tx, environment, changed, now)
  return changed
    .filter(({ change }) => change.kind === 'ask' || change.kind === 'again')
    .map(({ runId }) => runId)
}

interface Walked {
  /** In the order of the runs, each with its run as it was; there are fewer where they have made or taken too much. */
  readonly walks: readonly { readonly before: QueuedRun; readonly walk: Walk }[]
  /** Runs whose batches close earlier than they sleep. */
  readonly toLook: readonly RunId[]
  readonly nested: NestedTriggers
}

/** A run that stands before a gate or batch. */
interface Standing {
  readonly walking: Walking
  readonly request: Request
}

/**
 * Takes the runs side by side, from gate to gate and batch to batch: those that stand before one are answered together, in
 * the order of their ids. There are as many rounds as one run has of them before it.
 */
async function walkAll(tx: Transaction, chunk: Chunk, runs: readonly QueuedRun[]): Promise<Walked> {
  const secrets = secretPlaceholders(chunk.live.settings)
  const gates = new Gates(chunk.environment, chunk.now)
  const batches = new Batches(chunk.environment, chunk.now)
  const nested = new NestedTriggers(chunk.environment, chunk.now)
  const answer = (request: Request): Answer => {
    switch (request.kind) {
      case 'gate':
        return gates.pass(request)
      case 'join':
      case 'look':
        return batches.answer(request)
      case 'trigger':
        return nested.start(request)
      default:
        return unreachable(request)
    }
  }
  const walks = new Map<QueuedRun, Walk>()
  // Only what stands before a gate is kept on its way: the scopes of the others are garbage at once.
  let standing = new Map<QueuedRun, Standing>()
  let worked = 0
  const step = (run: QueuedRun, walking: Walking, ...given: [] | [Answer]) => {
    const began = stopwatch()
    const { done, value } = walking.next(...given)
    worked += stopwatch() - began
    if (done) walks.set(run, value)
    else standing.set(run, { walking, request: value })
  }
  const isFull = () => chunk.made.bytes > MADE_BYTES_MAX || worked > WORK_MS_MAX
  await inTurns(
    tx,
    (function* () {
      for (const run of runs) {
        if (isFull()) return
        step(run, walk(chunk, run, secrets))
        yield
      }
    })(),
  )
  // Nothing is changed yet for those that wait for an answer, so they may begin anew; one at least gets on.
  if (isFull()) standing = new Map([...standing].slice(0, walks.size === 0 ? 1 : 0))
  while (standing.size > 0) {
    const answered = standing
    standing = new Map()
    const requests = [...answered.values()].map(({ request }) => request)
    await loadAsked(tx, { gates, batches, nested }, requests)
    await inTurns(
      tx,
      (function* () {
        for (const [run, { walking, request }] of answered)
          yield step(run, walking, answer(request))
      })(),
    )
  }
  await gates.save(tx)
  const toLook = await batches.save(tx)
  const inOrder = runs.flatMap((before) => {
    const found = walks.get(before)
    return found ? [{ before, walk: found }] : []
  })
  return { walks: inOrder, toLook, nested }
}

/** Reads what these runs ask for, with a fixed number of statements. */
async function loadAsked(
  tx: Transaction,
  {
    gates,
    batches,
    nested,
  }: { readonly gates: Gates; readonly batches: Batches; readonly nested: NestedTriggers },
  requests: readonly Request[],
): Promise<void> {
  await gates.load(
    tx,
    requests.filter((one) => one.kind === 'gate'),
  )
  await batches.load(
    tx,
    requests.filter((one) => one.kind === 'join' || one.kind === 'look'),
  )
  await nested.load(
    tx,
    requests.filter((one) => one.kind === 'trigger'),
  )
}
