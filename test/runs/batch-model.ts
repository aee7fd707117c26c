import { expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { newId, type BatchId, type WorkflowRunId } from '../../src/ids.ts'
import { leaveBatches } from '../../src/runs/batch-leave.ts'
import { Batches, type BatchAnswer, type BatchRequest } from '../../src/runs/batches.ts'
import type { Position, QueuedRun, WorkflowRun } from '../../src/runs/run.ts'
import type { LoadedVersion } from '../../src/runs/versions.ts'
import type { Batch } from '../../src/steps/batch.ts'
import { random, type Random } from '../support/random.ts'
import { SimulatedBatches } from './simulated-batches.ts'
import { ENVIRONMENT, storedRun } from './simulated-runs.ts'
import {
  childrenOf,
  SIMULATED,
  stepsOf,
  TRIGGER_N,
  WorkflowMaker,
  type SimulatedStep,
} from './simulated-workflow.ts'

const OPERATIONS = 60
const MINUTE_MS = 60_000

type BatchStep = Batch & SimulatedStep & { readonly window: string }

/** A run, in Postgres and in the plain list. */
interface Twin {
  run: QueuedRun
  readonly trigger: WorkflowRun
  version: LoadedVersion
  /** The batch of the list that is the one that the run names. */
  listed: BatchId | null
  state: 'free' | 'waiting' | 'batched' | 'over'
}

class Death extends Error {}

/** Plays a random script on batches in Postgres and on a plain list, and expects the same of both. */
export class BatchPlay {
  readonly #database: Database
  /** Each script has recipients of its own. */
  readonly #seed: number
  readonly #random: Random
  readonly #maker: WorkflowMaker
  readonly #list = new SimulatedBatches()
  readonly #versions: LoadedVersion[] = []
  readonly #twins: Twin[] = []
  /** What came up, of each kind. */
  readonly kinds = new Set<string>()
  #now = Date.UTC(2027, 2, 1)

  constructor(database: Database, seed: number) {
    this.#database = database
    this.#seed = seed
    this.#random = random(seed)
    this.#maker = new WorkflowMaker(this.#random)
  }

  async play(): Promise<void> {
    const { pick } = this.#random
    await this.#push()
    for (let count = 0; count < OPERATIONS; count += 1) {
      await pick([
        ...Array.from({ length: 4 }, () => () => this.#chunk()),
        ...Array.from({ length: 2 }, () => () => this.#trigger()),
        () => this.#cancel(),
        () => this.#push(),
        () => this.#pass(pick([1, 5, 20, 70]) * MINUTE_MS),
        () => this.#pass(-2_000),
      ])()
    }
    await this.#pass(10_000 * MINUTE_MS)
    while (this.#twins.some(({ state }) => state === 'waiting')) await this.#work(this.#waiting())
    expect(this.#list.forgotten).toBe(0)
  }

  #pass(ms: number): Promise<void> {
    this.#now += ms
    return Promise.resolve()
  }

  /** Pushes a version that has a batch. */
  async #push(): Promise<void> {
    let version = this.#maker.version()
    while (placesOf(version).length === 0) version = this.#maker.version()
    this.#versions.push(version)
    const at = new Date(this.#now)
    await this.#database.query(sql`
      insert into versions (id, key, workflow, files, blobs, channel_uses, variable_uses, created_at)
      values (${version.id}, ${SIMULATED}, ${JSON.stringify(version.workflow)}, '{}', '{}', '[]',
        '[]', ${at})
    `)
    await this.#database.query(sql`
      insert into revision_workflows (environment, key, sequence, version_id, tree)
      select ${ENVIRONMENT}, ${SIMULATED}, count(*) + 1, ${version.id}, 't'
      from revision_workflows where environment = ${ENVIRONMENT}
    `)
  }

  async #trigger(): Promise<void> {
    const { below, pick, chance } = this.#random
    const trigger = {
      id: newId<WorkflowRunId>(),
      data: { n: below(TRIGGER_N), [`k${below(3)}`]: below(9) },
      actor: null,
      tenant: null,
      settings: { sandbox_mode: chance(0.2) },
      cancellationKey: null,
      schedule: null,
      depth: 0,
    }
    const version = this.#versions.at(-1)!
    await this.#database.query(sql`
      insert into workflow_runs (environment, id, workflow, version_id, sequence, revision,
        trigger_source, data, settings, recipients, fan_out, inserted_at)
      values (${ENVIRONMENT}, ${trigger.id}, ${SIMULATED}, ${version.id}, 1, 'r1', '{}',
        ${JSON.stringify(trigger.data)}, ${JSON.stringify(trigger.settings)}, '[]', 'done',
        ${new Date(this.#now)})
    `)
    const { run } = storedRun(trigger, version, `${pick(['ada', 'bob'])}-${this.#seed}`)
    this.#twins.push({ run, trigger, version, listed: null, state: 'free' })
  }

  #waiting(): readonly Twin[] {
    return this.#twins.filter(({ state }) => state === 'waiting')
  }

  /** Some of the runs that can go on do so, in one transaction that may come to nothing. */
  async #chunk(): Promise<void> {
    const { chance } = this.#random
    const going = this.#twins.filter(({ state }) => state === 'free' || state === 'waiting')
    await this.#work(
      going.filter(() => chance(0.6)),
      chance(0.2),
    )
  }

  async #work(twins: readonly Twin[], dies = false): Promise<void> {
    const requests = twins.map((twin) => this.#requestOf(twin))
    const result = await this.#ask(requests, dies)
    if (!result) return
    const expected = this.#expected(twins, requests)
    expect(result.answers.map(shown)).toEqual(expected.map(shown))
    expect(result.toLook.toSorted()).toEqual([...this.#list.takeEarly()].toSorted())
    for (const [index, twin] of twins.entries())
      this.#goOn(twin, result.answers[index]!, expected[index]!)
  }

  async #ask(requests: readonly BatchRequest[], dies: boolean) {
    try {
      return await this.#database.transaction(async (tx) => {
        const batches = new Batches(ENVIRONMENT, new Date(this.#now))
        await batches.load(tx, requests)
        const answers = requests.map((request) => batches.answer(request))
        const toLook = await batches.save(tx)
        if (dies) throw new Death()
        return { answers, toLook }
      })
    } catch (error) {
      if (error instanceof Death) return undefined
      throw error
    }
  }

  /** What the list says: who looks does so before the others come. */
  #expected(twins: readonly Twin[], requests: readonly BatchRequest[]): readonly BatchAnswer[] {
    const answers: BatchAnswer[] = []
    for (const kind of ['look', 'join']) {
      for (const [index, request] of requests.entries()) {
        const { trigger, listed } = twins[index]!
        if (request.kind !== kind) continue
        const run = { ...request.run, batchId: listed }
        answers[index] =
          request.kind === 'look'
            ? this.#list.look({ ...request, run }, this.#versions, this.#now)
            : this.#list.join({ ...request, run }, trigger, this.#now)
      }
    }
    return answers
  }

  /** What a run asks: about its batch, or to be taken into one of its version. */
  #requestOf(twin: Twin): BatchRequest {
    const { run, trigger, version, state } = twin
    if (state === 'waiting') return { kind: 'look', run, version }
    const { step, position } = this.#random.pick(placesOf(version))
    const isPinned = step.version === 'pinned'
    const bucket = {
      workflow: SIMULATED,
      stepRef: step.ref,
      collection: run.collection,
      recipient: run.recipient,
      tenant: null,
      key: step.key === undefined ? '' : String(trigger.data['n']),
      versionId: isPinned ? version.id : null,
      sandbox: trigger.settings.sandbox_mode === true,
    }
    const outcome = {
      kind: 'batch' as const,
      key: bucket.key,
      until: new Date(this.#now + Number.parseInt(step.window, 10) * MINUTE_MS),
      extensionLimit: step.extension_limit ?? null,
      timeZone: 'Etc/UTC',
      maxItems: step.max_items ?? null,
      flushLeading: step.mode === 'flush_leading',
      pinned: isPinned,
    }
    twin.run = { ...run, position }
    return { kind: 'join', run: twin.run, bucket, outcome }
  }

  #goOn(twin: Twin, answer: BatchAnswer, expected: BatchAnswer): void {
    this.kinds.add(answer.kind)
    if (answer.kind === 'gone') twin.state = 'over'
    if ('batchId' in answer && 'batchId' in expected) {
      twin.state = answer.kind === 'opened' ? 'waiting' : 'batched'
      twin.listed = expected.batchId
      twin.run = { ...twin.run, batchId: answer.batchId }
      if (answer.kind === 'opened') twin.run = { ...twin.run, waitsFor: 'batch' }
    }
    if (answer.kind === 'closed') {
      const { version, position, data } = answer
      twin.state = 'free'
      twin.version = this.#versions.find(({ id }) => id === version.id)!
      twin.run = { ...twin.run, versionId: version.id, position, data, waitsFor: null }
    }
  }

  /** Takes a run out of its batch. */
  async #cancel(): Promise<void> {
    const inBatch = this.#twins.filter(({ state }) => state === 'waiting' || state === 'batched')
    if (inBatch.length === 0) return
    const twin = this.#random.pick(inBatch)
    const { id, workflowRunId, batchId, waitsFor } = twin.run
    const ended = twin.state === 'batched'
    const member = { id, workflowRunId, batchId, waitsFor, ended }
    const { kept, left, emptied } = await this.#database.transaction((tx) =>
      leaveBatches(tx, ENVIRONMENT, [member], new Date(this.#now)),
    )
    const expected = this.#list.leave({ ...twin.run, batchId: twin.listed })
    expect({ hasLeft: left.has(id), isKept: kept.has(id), emptied: emptied[0] ?? null }).toEqual(
      expected,
    )
    if (!kept.has(id)) twin.state = 'over'
    this.kinds.add(kept.has(id) ? 'kept' : 'cancelled')
  }
}

/** What two answers to the same have in common. */
function shown(answer: BatchAnswer): unknown {
  if (answer.kind === 'closed') {
    const { kind, contents, data, version, step, position, openedAt } = answer
    const { totalActivities, openingData } = contents
    const activities = contents.activities.map((one) => [one.workflowRunId, one.data])
    const held = { totalActivities, openingData, activities, data, openedAt }
    return { kind, ...held, version: version.id, ref: step.ref, position }
  }
  return 'batchId' in answer ? { ...answer, batchId: null } : answer
}

interface Place {
  readonly step: BatchStep
  readonly position: Position
}

/** The batch steps of a version, wherever they are nested. */
function placesOf(version: LoadedVersion): readonly Place[] {
  const all = (steps: readonly SimulatedStep[], list: Position): Place[] =>
    steps.flatMap((step, index) => {
      const position = [...list, index]
      const nested = childrenOf(step).flatMap((child, at) => all(child.steps, [...position, at]))
      return step.type === 'batch' ? [{ step: step as BatchStep, position }] : nested
    })
  return all(stepsOf(version), [])
}
