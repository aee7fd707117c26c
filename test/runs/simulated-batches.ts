import { newId, type BatchId, type RunId } from '../../src/ids.ts'
import type { BatchContents } from '../../src/runs/batch-contents.ts'
import type { BatchAnswer, JoinRequest, LookRequest } from '../../src/runs/batches.ts'
import type { Position, QueuedRun, WorkflowRun } from '../../src/runs/run.ts'
import type { LoadedVersion } from '../../src/runs/versions.ts'
import type { Kept } from './simulated-runs.ts'
import { childrenOf, EXTENSION_MS, stepsOf, type SimulatedStep } from './simulated-workflow.ts'

interface Item {
  readonly runId: RunId
  readonly trigger: WorkflowRun
  readonly data: Readonly<Record<string, unknown>>
}

/** A batch, as plainly as it can be said. */
interface Box {
  readonly id: BatchId
  readonly bucket: string
  readonly openedAt: number
  closesAt: number
  /** The run that goes on with it; none while the first one was let through and nobody has followed. */
  owner: RunId | null
  readonly isLeading: boolean
  items: Item[]
  state: 'open' | 'closed' | 'taken'
}

/** What became of a run that leaves its batch. */
export interface Left {
  /** Whether an activity was taken out. */
  readonly hasLeft: boolean
  /** Whether the run goes on for what others put in. */
  readonly isKept: boolean
  /** The other run that has nothing more to go on with. */
  readonly emptied: RunId | null
}

/** Batches as a list in memory: the answers that runs get, and what is in each in the end. */
export class SimulatedBatches implements Kept {
  #boxes: Box[] = []
  /** Runs whose batches close earlier than they sleep. */
  readonly #early = new Set<RunId>()

  save(): () => void {
    const boxes = this.#boxes.map((box) => ({ ...box, items: [...box.items] }))
    return () => {
      this.#boxes = boxes
      this.#early.clear()
    }
  }

  join({ run, bucket, outcome }: JoinRequest, trigger: WorkflowRun, now: number): BatchAnswer {
    const name = JSON.stringify(bucket)
    const own = run.batchId === null ? trigger.data : {}
    const item = { runId: run.id, trigger, data: { ...own, ...run.data } }
    const open = this.#boxes.find((one) => one.bucket === name && one.state === 'open')
    // Once it was too late for one, it is for all, whatever the clock says.
    if (open && open.closesAt <= now) open.state = 'closed'
    const until = outcome.until.getTime()
    if (open?.state !== 'open') return this.#begin(name, outcome.flushLeading, { item, now, until })
    return this.#add(open, item, { ...outcome, now })
  }

  #add(
    box: Box,
    item: Item,
    { until, extensionLimit, maxItems, now }: JoinRequest['outcome'] & { readonly now: number },
  ): BatchAnswer {
    const before = box.closesAt
    if (extensionLimit !== null)
      box.closesAt = Math.min(until.getTime(), box.openedAt + EXTENSION_MS)
    box.items.push(item)
    const { id: batchId, owner, items } = box
    if (owner === null) {
      box.owner = item.runId
      return { kind: 'opened', batchId, closesAt: new Date(box.closesAt) }
    }
    if (maxItems !== null && items.length >= maxItems) {
      box.state = 'closed'
      box.closesAt = now
    }
    if (box.closesAt < before) this.#early.add(owner)
    return { kind: 'joined', batchId, runId: owner, activities: items.length }
  }

  #begin(
    bucket: string,
    isLeading: boolean,
    { item, now, until }: { readonly item: Item; readonly now: number; readonly until: number },
  ): BatchAnswer {
    const id = newId<BatchId>()
    const owner = isLeading ? null : item.runId
    const items = isLeading ? [] : [item]
    this.#boxes.push({
      id,
      bucket,
      openedAt: now,
      closesAt: until,
      owner,
      isLeading,
      items,
      state: 'open',
    })
    const closesAt = new Date(until)
    return isLeading ? { kind: 'passed', closesAt } : { kind: 'opened', batchId: id, closesAt }
  }

  /** `versions` are all that were applied, oldest first. */
  look(
    { run, version }: LookRequest,
    versions: readonly LoadedVersion[],
    now: number,
  ): BatchAnswer {
    const box = this.#of(run)
    if (box?.owner !== run.id || box.state === 'taken' || box.items.length === 0)
      return { kind: 'gone' }
    if (box.state === 'open' && box.closesAt > now)
      return { kind: 'early', closesAt: new Date(box.closesAt) }
    box.state = 'taken'
    const own = placeOf(version, (step) => step.position.join() === run.position.join())!
    const isNext = ({ ref, type, pinned }: Place) => ref === own.ref && type === 'batch' && !pinned
    const newest = versions.findLast((one) => placeOf(one, isNext) !== undefined)
    const next = own.pinned || !newest ? version : newest
    const { step, position } = own.pinned ? own : (placeOf(next, isNext) ?? own)
    const data = Object.assign({}, ...inOrder(box).map((item) => item.data)) as Item['data']
    return {
      kind: 'closed',
      contents: contentsOf(box),
      data,
      version: next,
      step: step as never,
      position,
      openedAt: new Date(box.openedAt),
    }
  }

  /** What the batch held that a run went on from. */
  contents(run: QueuedRun): BatchContents {
    return contentsOf(this.#of(run)!)
  }

  /** Whether a run that has ended is in a batch that has not gone on. */
  isWaiting(run: QueuedRun): boolean {
    const box = this.#of(run)
    return box !== undefined && box.state !== 'taken'
  }

  /** Whether the batch that a run names holds its activity. */
  holds(run: QueuedRun): boolean {
    return this.#of(run)?.items.some(({ runId }) => runId === run.id) === true
  }

  leave(run: QueuedRun): Left {
    const box = this.#of(run)
    if (!box || box.state === 'taken') return { hasLeft: false, isKept: false, emptied: null }
    const before = box.items.length
    box.items = box.items.filter(({ runId }) => runId !== run.id)
    const isEmpty = box.items.length === 0
    const { owner } = box
    if (isEmpty) {
      box.owner = null
      if (!box.isLeading || box.state === 'closed') box.state = 'taken'
    }
    return {
      hasLeft: box.items.length < before,
      isKept: owner === run.id && !isEmpty,
      emptied: isEmpty && owner !== run.id ? owner : null,
    }
  }

  takeEarly(): readonly RunId[] {
    const ids = [...this.#early]
    this.#early.clear()
    return ids
  }

  /** How many batches went on with the activity of a run that is not the one that went on. */
  spokenFor(id: RunId): number {
    return this.#boxes.filter(
      ({ owner, state, items }) =>
        state === 'taken' && owner !== id && items.some(({ runId }) => runId === id),
    ).length
  }

  /** Activities of batches that never went on. */
  get forgotten(): number {
    return this.#boxes.reduce(
      (sum, { state, items }) => sum + (state === 'taken' ? 0 : items.length),
      0,
    )
  }

  #of({ batchId }: QueuedRun): Box | undefined {
    return this.#boxes.find(({ id }) => id === batchId)
  }
}

function contentsOf(box: Box): BatchContents {
  const opening = box.items.find(({ runId }) => runId === box.owner)
  return {
    activities: inOrder(box).map(({ trigger, data }) => ({
      workflowRunId: trigger.id,
      actor: null,
      data,
      at: new Date(0),
    })),
    actors: [],
    totalActivities: box.items.length,
    totalActors: 0,
    actor: null,
    openingData: opening?.data ?? {},
    entities: new Map(),
  }
}

/** What a batch holds, in the order of the triggers and not of the runs. */
function inOrder({ items }: Box): readonly Item[] {
  return items.toSorted((a, b) => (a.trigger.id < b.trigger.id ? -1 : 1))
}

interface Place {
  readonly ref: string
  readonly type: string
  readonly pinned: boolean
  readonly position: Position
  readonly step: object
}

/** The first place in a version's workflow that is right. */
function placeOf(simulated: LoadedVersion, isRight: (place: Place) => boolean) {
  const all = (steps: readonly SimulatedStep[], list: Position): Place[] =>
    steps.flatMap((step, index) => {
      const position = [...list, index]
      const { ref, type, version } = step
      const nested = childrenOf(step).flatMap((child, at) => all(child.steps, [...position, at]))
      return [{ ref, type, pinned: version === 'pinned', position, step }, ...nested]
    })
  return all(stepsOf(simulated), []).find(isRight)
}
