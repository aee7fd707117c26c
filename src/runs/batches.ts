import type { Transaction } from '../db/database.ts'
import { assert } from '../errors.ts'
import { newId, type BatchId, type EnvironmentName, type RunId } from '../ids.ts'
import { batchView, extensionEnd } from '../steps/batch.ts'
import type { Step } from '../steps/index.ts'
import type { Outcome } from '../steps/step.ts'
import { findStep, stepAt } from './advance.ts'
import { loadContents, loadMergedData, type BatchContents } from './batch-contents.ts'
import {
  bucketId,
  findNewestVersions,
  insertActivities,
  lockBatches,
  openBatches,
  takeBatches,
  updateBatches,
  type BatchRow,
  type Bucket,
  type NewActivity,
  type NewBatch,
} from './batch-store.ts'
import type { Position, QueuedRun } from './run.ts'
import { loadVersions, type LoadedVersion } from './versions.ts'

/** A run that has come to a batch step. */
export interface JoinRequest {
  readonly kind: 'join'
  readonly run: QueuedRun
  readonly bucket: Bucket
  readonly outcome: Outcome & { readonly kind: 'batch' }
}

/** A run that waits for its batch to close, and wants to know whether it has. */
export interface LookRequest {
  readonly kind: 'look'
  readonly run: QueuedRun
  /** That of the run: the one to go on with where no newer one has the step. */
  readonly version: LoadedVersion
}

export type BatchRequest = JoinRequest | LookRequest

/** What a run goes on with when its batch has closed. */
export interface ClosedBatch {
  readonly kind: 'closed'
  readonly contents: BatchContents
  readonly data: Readonly<Record<string, unknown>>
  /** The version that it goes on with, and the batch step and its place there. */
  readonly version: LoadedVersion
  readonly step: Step
  readonly position: Position
  readonly openedAt: Date
}

export type BatchAnswer =
  /** It is the first one, and is let through. */
  | { readonly kind: 'passed'; readonly closesAt: Date }
  /** It is to wait for the close, and to go on then with all that has come. */
  | { readonly kind: 'opened'; readonly batchId: BatchId; readonly closesAt: Date }
  /** It is an activity of the batch that `runId` has opened, and ends. */
  | {
      readonly kind: 'joined'
      readonly batchId: BatchId
      readonly runId: RunId
      readonly activities: number
    }
  | { readonly kind: 'early'; readonly closesAt: Date }
  /** Every activity was cancelled. */
  | { readonly kind: 'gone' }
  | ClosedBatch

interface Due {
  readonly run: QueuedRun
  readonly row: BatchRow
  readonly version: LoadedVersion
}

/**
 * The batches that the runs of one chunk come to. What was loaded stays locked until the transaction ends, so
 * that runs of other chunks wait, and see then what this one made of it. A run's own row is always locked
 * before its batch, and no other run's row is touched: who must wake is told by a job.
 */
export class Batches {
  readonly #environment: EnvironmentName
  readonly #now: Date
  /** By id: each as it stands after what this chunk did. */
  readonly #rows = new Map<BatchId, BatchRow>()
  /** By bucket: the batch that takes what comes. */
  readonly #open = new Map<string, BatchId>()
  /** Buckets that were asked for: what they hold is locked, and as it stands here. */
  readonly #seen = new Set<string>()
  /** Opened by this chunk, and still without a first run. */
  readonly #blank = new Set<BatchId>()
  readonly #changed = new Set<BatchId>()
  readonly #made: NewBatch[] = []
  readonly #activities: NewActivity[] = []
  readonly #looks = new Map<RunId, BatchAnswer>()
  /** Runs that sleep longer than their batch is open now. */
  readonly #early = new Set<RunId>()

  constructor(environment: EnvironmentName, now: Date) {
    this.#environment = environment
    this.#now = now
  }

  /** Locks and reads what these runs ask for, with a fixed number of statements. */
  async load(tx: Transaction, requests: readonly BatchRequest[]): Promise<void> {
    const looks = requests.filter((one) => one.kind === 'look')
    const buckets = new Map<string, Bucket>()
    for (const request of requests)
      if (request.kind === 'join') buckets.set(bucketId(request.bucket), request.bucket)
    for (const bucket of this.#seen) buckets.delete(bucket)
    if (looks.length === 0 && buckets.size === 0) return
    const ids = looks.flatMap(({ run }) => run.batchId ?? [])
    const locked = await lockBatches(tx, this.#environment, { ids, buckets: [...buckets.keys()] })
    for (const row of locked) this.#remember(row)
    await this.#look(tx, looks)
    // Who closes a batch keeps everybody else from opening the next one until it is done.
    for (const { bucket } of locked) buckets.delete(bucket)
    const blank = [...buckets].map(([id, bucket]) => this.#blankBatch(id, bucket))
    const own = new Set(blank.map(({ row }) => row.id))
    for (const row of await openBatches(tx, this.#environment, blank)) {
      this.#remember(row)
      if (own.has(row.id)) this.#blank.add(row.id)
    }
  }

  answer(request: BatchRequest): BatchAnswer {
    if (request.kind === 'join') return this.#join(request)
    const answer = this.#looks.get(request.run.id)
    assert(answer, `nobody looked at the batch of run ${request.run.id}`)
    return answer
  }

  /** Writes down what came of it, and answers the runs that are to look at their batches again. */
  async save(tx: Transaction): Promise<readonly RunId[]> {
    const made = this.#made.map(({ row, bucket }) => ({ row: this.#rowOf(row.id), bucket }))
    const fresh = new Set(made.map(({ row }) => row.id))
    const changed = [...this.#changed].filter((id) => !fresh.has(id))
    // First, since what they close makes room for what is opened.
    await updateBatches(
      tx,
      this.#environment,
      changed.map((id) => this.#rowOf(id)),
    )
    await openBatches(tx, this.#environment, made)
    await insertActivities(tx, this.#environment, this.#activities, this.#now)
    return [...this.#early]
  }

  /** Finds out which of these runs go on, closes their batches, and reads what they hold. */
  async #look(tx: Transaction, looks: readonly LookRequest[]): Promise<void> {
    const due: Due[] = []
    for (const { run, version } of looks) {
      const row = run.batchId === null ? undefined : this.#rows.get(run.batchId)
      if (row?.runId !== run.id || row.takenAt !== null || row.activities === 0)
        this.#looks.set(run.id, { kind: 'gone' })
      else if (row.closedAt === null && row.closesAt > this.#now)
        this.#looks.set(run.id, { kind: 'early', closesAt: row.closesAt })
      else due.push({ run, row, version })
    }
    if (due.length === 0) return
    const places = await this.#placesOf(tx, due)
    const ids = due.map(({ row }) => row.id)
    const taken = due.map(({ row }, index) => {
      this.#rows.set(row.id, {
        ...row,
        closedAt: row.closedAt ?? this.#now,
        takenAt: this.#now,
      })
      // Another one may be open already, where this one was closed before its run came to look.
      if (this.#open.get(row.bucket) === row.id) this.#open.delete(row.bucket)
      return { id: row.id, ...batchView(places[index]!.step) }
    })
    await takeBatches(tx, this.#environment, taken, this.#now)
    const contents = await loadContents(tx, this.#environment, ids)
    const data = await loadMergedData(tx, this.#environment, ids)
    for (const [index, { run, row }] of due.entries()) {
      const held = contents.get(row.id)
      assert(held, `batch ${row.id} counts ${row.activities} activities and has none`)
      const { openedAt } = row
      this.#looks.set(run.id, {
        kind: 'closed',
        contents: held,
        data: data.get(row.id) ?? {},
        openedAt,
        ...places[index]!,
      })
    }
  }

  /** Where each of these runs goes on: in the newest version that has the step, or in its own. */
  async #placesOf(tx: Transaction, due: readonly Due[]) {
    const own = due.map(({ run, version }) => {
      const step = stepAt(version.workflow, run.position)
      assert(step?.type === 'batch', `run ${run.id} waits at no batch step`)
      return { version, step, position: run.position }
    })
    const following = own.filter(({ step }) => step.version !== 'pinned')
    const named = new Map(
      following.map(({ version, step }) => [
        `${version.key} ${step.ref}`,
        { workflow: version.key, stepRef: step.ref },
      ]),
    )
    const newest = await findNewestVersions(tx, this.#environment, [...named.values()])
    const versions = await loadVersions(
      tx,
      newest.map(({ versionId }) => versionId),
    )
    const newestOf = new Map(
      newest.map(({ workflow, stepRef, versionId }) => [`${workflow} ${stepRef}`, versionId]),
    )
    return own.map((place) => {
      const { version, step } = place
      const id = newestOf.get(`${version.key} ${step.ref}`)
      const newer = id === undefined || step.version === 'pinned' ? undefined : versions.get(id)
      const position = newer && findStep(newer.workflow, step.ref)
      const found = newer && position && stepAt(newer.workflow, position)
      if (found?.type !== 'batch') return place
      return { version: newer!, step: found, position: position! }
    })
  }

  #join({ run, bucket, outcome }: JoinRequest): BatchAnswer {
    const row = this.#openRow(bucket)
    if (this.#blank.delete(row.id)) return this.#begin(row, run, outcome)
    if (row.runId === null) return this.#follow(row, run, outcome)
    const activities = row.activities + 1
    const closesAt = this.#extended(row, outcome)
    const isFull = outcome.maxItems !== null && activities >= outcome.maxItems
    const joined = { ...row, activities, closesAt }
    this.#change(isFull ? { ...joined, closesAt: this.#now, closedAt: this.#now } : joined)
    if (isFull) this.#open.delete(row.bucket)
    if (isFull || closesAt < row.closesAt) this.#early.add(row.runId)
    this.#add(row.id, run)
    return { kind: 'joined', batchId: row.id, runId: row.runId, activities }
  }

  /** The batch that takes what comes now. One whose window is over takes nothing more. */
  #openRow(bucket: Bucket): BatchRow {
    const id = bucketId(bucket)
    const known = this.#open.get(id)
    const row = known === undefined ? undefined : this.#rowOf(known)
    if (row && (this.#blank.has(row.id) || row.closesAt > this.#now)) return row
    if (row?.runId === null) {
      this.#blank.add(row.id)
      return row
    }
    if (row) this.#change({ ...row, closedAt: this.#now })
    const made = this.#blankBatch(id, bucket)
    this.#made.push(made)
    this.#blank.add(made.row.id)
    this.#remember(made.row)
    return made.row
  }

  /** The first one of a batch opens its window. */
  #begin(
    row: BatchRow,
    run: QueuedRun,
    { until, flushLeading }: JoinRequest['outcome'],
  ): BatchAnswer {
    const opened = { ...row, openedAt: this.#now, closesAt: until, flushLeading }
    if (flushLeading) {
      this.#change(opened)
      return { kind: 'passed', closesAt: until }
    }
    this.#change({ ...opened, runId: run.id, activities: 1 })
    this.#add(row.id, run)
    return { kind: 'opened', batchId: row.id, closesAt: until }
  }

  /** The first one behind what was let through waits for the close. */
  #follow(row: BatchRow, run: QueuedRun, outcome: JoinRequest['outcome']): BatchAnswer {
    const closesAt = this.#extended(row, outcome)
    this.#change({ ...row, runId: run.id, activities: 1, closesAt })
    this.#add(row.id, run)
    return { kind: 'opened', batchId: row.id, closesAt }
  }

  #extended(row: BatchRow, outcome: JoinRequest['outcome']): Date {
    if (outcome.extensionLimit === null) return row.closesAt
    const latest = extensionEnd(row.openedAt, outcome)
    const until = outcome.until < latest ? outcome.until : latest
    return until < this.#now ? this.#now : until
  }

  #add(batchId: BatchId, { id: runId, workflowRunId, data, batchId: before }: QueuedRun): void {
    this.#activities.push({ batchId, workflowRunId, runId, data, whole: before !== null })
  }

  #blankBatch(id: string, bucket: Bucket): NewBatch {
    const row: BatchRow = {
      id: newId<BatchId>(),
      bucket: id,
      runId: null,
      flushLeading: false,
      openedAt: this.#now,
      closesAt: this.#now,
      closedAt: null,
      takenAt: null,
      activities: 0,
    }
    return { row, bucket }
  }

  #remember(row: BatchRow): void {
    this.#rows.set(row.id, row)
    this.#seen.add(row.bucket)
    if (row.closedAt === null) this.#open.set(row.bucket, row.id)
  }

  #change(row: BatchRow): void {
    this.#rows.set(row.id, row)
    this.#changed.add(row.id)
  }

  #rowOf(id: BatchId): BatchRow {
    const row = this.#rows.get(id)
    assert(row, `batch ${id} is not loaded`)
    return row
  }
}
