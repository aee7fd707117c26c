import type { Database, Transaction } from '../db/database.ts'
import type { Queue } from '../db/queue.ts'
import { RequestError } from '../errors.ts'
import { newRowId } from '../ids.ts'
import { noteEvents } from '../messages/happenings.ts'
import { USERS } from '../recipients/recipient.ts'
import { sourceEvent } from '../steps/wait-for-event.ts'
import type { EventResult, EventStatus, ProvenSource, SourceEvent } from './source-event.ts'
import { keepPeople, mergePeople, readPeople, type People } from './source-people.ts'
import { insertEvents, saveResults, type NumberedEvent } from './source-store.ts'
import { startForEvents } from './source-triggers.ts'

/** Events that one transaction deals with. */
const EVENTS_AT_ONCE = 500
/** How often a transaction that stood in another one's way is tried. */
const TRIES_MAX = 4

export interface TakeGround {
  readonly database: Pick<Database, 'transaction'>
  readonly queue: Queue
  readonly now: Date
}

/** What became of one event; undefined where it was known already. */
export interface Taken {
  readonly id: string
  readonly status: EventStatus
}

export interface TakeOptions {
  /** The id of the event that is done again. */
  readonly replayOf?: string
}

/**
 * Logs what a source has sent, once for each message id, and does what it says: each part of a batch in one
 * transaction with its log. An event that cannot be dealt with is logged as such and keeps no other from it.
 * Answers in the order of `events`.
 */
export async function takeEvents(
  ground: TakeGround,
  proven: ProvenSource,
  events: readonly SourceEvent[],
  options: TakeOptions = {},
): Promise<readonly (Taken | undefined)[]> {
  const taken: (Taken | undefined)[] = []
  for (let from = 0; from < events.length; from += EVENTS_AT_ONCE) {
    const some = events.slice(from, from + EVENTS_AT_ONCE)
    const numbered = some.map((event) => ({ ...event, id: newRowId() }))
    taken.push(...(await takePart(ground, { proven, events: numbered, options })))
  }
  return taken
}

/** Does what a logged event says once more, in the caller's transaction; answers the id of the new entry in the log. */
export async function replayEvent(
  tx: Transaction,
  ground: Omit<TakeGround, 'database'>,
  proven: ProvenSource,
  logged: SourceEvent & { readonly id: string },
): Promise<string> {
  const { id: replayOf, kind, event, userId, happenedAt, body } = logged
  const problem = body === null ? { problem: 'what was sent could not be stored' } : {}
  const again = {
    id: newRowId(),
    kind,
    event,
    userId,
    happenedAt,
    body,
    messageId: null,
    ...problem,
  }
  await take(tx, ground, { proven, events: [again], options: { replayOf } })
  return again.id
}

interface Part {
  readonly proven: ProvenSource
  readonly events: readonly NumberedEvent[]
  readonly options: TakeOptions
}

/** One that Postgres or a bound refuses is looked for by halves, so that it fails alone. */
async function takePart(ground: TakeGround, part: Part): Promise<readonly (Taken | undefined)[]> {
  const { events } = part
  try {
    return await patiently(ground.database, (tx) => take(tx, ground, part))
  } catch (error) {
    if (!(error instanceof RequestError)) throw error
    const [only] = events
    if (only && events.length === 1) {
      const failed = { ...part, events: [{ ...only, problem: error.message }] }
      return patiently(ground.database, (tx) => take(tx, ground, failed))
    }
    const middle = events.length / 2
    const first = await takePart(ground, { ...part, events: events.slice(0, middle) })
    return [...first, ...(await takePart(ground, { ...part, events: events.slice(middle) }))]
  }
}

async function patiently<Result>(
  database: Pick<Database, 'transaction'>,
  work: (tx: Transaction) => Promise<Result>,
): Promise<Result> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await database.transaction(work)
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined
      const isConflict = code === '40P01' || code === '40001'
      if (!isConflict || tries >= TRIES_MAX) throw error
    }
  }
}

async function take(
  tx: Transaction,
  { queue, now }: Omit<TakeGround, 'database'>,
  { proven, events, options }: Part,
): Promise<readonly (Taken | undefined)[]> {
  const { environment, key: source } = proven
  const isNew = await insertEvents(tx, { environment, source }, events, { now, ...options })
  const fresh = events.filter(({ id }) => isNew.has(id))
  const dealing = openDealing(fresh)
  const people = fresh.flatMap((event) => dealing.read(event, proven.source.group_collection))
  await keepPeople(tx, environment, people, now)
  const named = fresh.filter(({ event, problem }) => event !== null && problem === undefined)
  const context = { queue, environment, now }
  for (const { id, result } of await startForEvents(tx, context, { source, events: named }))
    dealing.add(id, result)
  await noteEvents(tx, { recipients: named.flatMap((event) => happeningOf(proven, event)) }, now)
  // Last, so that what happened to a user under an old name goes over as well.
  await mergePeople(tx, environment, people, now)
  const results = fresh.map(({ id }) => dealing.end(id))
  await saveResults(tx, environment, results)
  const byId = new Map(results.map((one) => [one.id, one]))
  return events.map(({ id }) => byId.get(id))
}

/** Collects what comes of events. */
function openDealing(events: readonly NumberedEvent[]) {
  const done = new Set<string>()
  const results = new Map<string, EventResult[]>(events.map(({ id }) => [id, []]))
  const add = (id: string, result: EventResult) => void results.get(id)?.push(result)
  const fail = (id: string, code: string, message: string) => add(id, { error: { code, message } })
  return {
    add,
    read(event: NumberedEvent, groups: string | undefined): readonly People[] {
      if (event.problem !== undefined) {
        fail(event.id, 'invalid_event', event.problem)
        return []
      }
      try {
        const people = readPeople(event, groups)
        if (!people) return []
        done.add(event.id)
        return [people]
      } catch (error) {
        if (!(error instanceof RequestError)) throw error
        fail(event.id, error.code, error.message)
        return []
      }
    },
    end(id: string) {
      const found = results.get(id) ?? []
      const isDone = done.has(id) || found.length > 0
      const status: EventStatus = found.some((one) => 'error' in one)
        ? 'failed'
        : isDone
          ? 'done'
          : 'ignored'
      return { id, status, results: found }
    },
  }
}

/** What the runs of the user that an event is about may wait for. */
function happeningOf({ environment, key }: ProvenSource, event: NumberedEvent) {
  const { userId, event: name, body } = event
  if (userId === null || name === null) return []
  const type = sourceEvent(key, name)
  return [{ environment, type, collection: USERS, recipient: userId, data: body ?? {} }]
}
