import type { Queryable, Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import { assert } from '../errors.ts'
import type { EnvironmentName, StepRef, WorkflowKey } from '../ids.ts'
import type { NestedAnswer, NestedRequest } from './nested.ts'
import type { BatchAnswer, BatchRequest } from './batches.ts'

/** What is counted apart in an environment: the runs of one recipient at one step, with one key. */
export interface Gate {
  readonly workflow: WorkflowKey
  readonly stepRef: StepRef
  readonly collection: string
  readonly recipient: string
  /** '' where the step has none. */
  readonly key: string
}

/** A run that wants to pass. */
export interface GateRequest {
  readonly kind: 'gate'
  readonly gate: Gate
  /** How many may pass while a window is open. */
  readonly limit: number
  /** When the window closes if this run opens it. */
  readonly until: Date
}

export interface GateAnswer {
  readonly kind: 'gate'
  readonly passed: boolean
  /** How many have passed in the open window, this run included. */
  readonly passes: number
  readonly closesAt: Date
}

/** What a run asks that is not only about itself; the runs of a chunk are answered together. */
export type Request = GateRequest | BatchRequest | NestedRequest
export type Answer = GateAnswer | BatchAnswer | NestedAnswer

/** A window that is over by less is kept, since the clocks of two processes may differ. */
const KEPT_MS = 5 * 60_000
const SWEEP_ROWS_MAX = 1_000

interface Window {
  readonly openedAt: Date
  readonly closesAt: Date
  readonly passes: number
}

interface WindowRow extends Gate, Window {}

/**
 * The gates that the runs of one chunk come to. What was loaded stays locked until the transaction ends, so
 * that runs of other chunks wait, and see then what this one let pass.
 */
export class Gates {
  readonly #environment: EnvironmentName
  readonly #now: Date
  readonly #loaded = new Map<string, { readonly gate: Gate; readonly window: Window }>()
  readonly #changed = new Set<string>()

  constructor(environment: EnvironmentName, now: Date) {
    this.#environment = environment
    this.#now = now
  }

  /** Locks and reads the gates that these runs stand before, in one statement, or none where all are known. */
  async load(tx: Transaction, requests: readonly GateRequest[]): Promise<void> {
    const named = new Map(requests.map(({ gate }) => [gateKey(gate), gate]))
    for (const key of this.#loaded.keys()) named.delete(key)
    const gates = [...named.values()]
    if (gates.length === 0) return
    const rows = await tx.query<WindowRow>(sql`
      insert into throttle_windows (environment, workflow, step_ref, collection, recipient, key,
        opened_at, closes_at, passes)
      select ${this.#environment}, workflow, step_ref, collection, recipient, key, ${this.#now},
        ${this.#now}, 0
      from unnest(${gates.map((gate) => gate.workflow)}::text[],
        ${gates.map((gate) => gate.stepRef)}::text[],
        ${gates.map((gate) => gate.collection)}::text[],
        ${gates.map((gate) => gate.recipient)}::text[],
        ${gates.map((gate) => gate.key)}::text[])
        as i (workflow, step_ref, collection, recipient, key)
      -- In the order of the key, so that two chunks with the same gates never wait for each other.
      order by workflow, step_ref, collection, recipient, key
      -- A change that changes nothing: it locks the row and answers it as it is.
      on conflict on constraint throttle_windows_pkey do update set passes = throttle_windows.passes
      returning workflow, step_ref as "stepRef", collection, recipient, key,
        opened_at as "openedAt", closes_at as "closesAt", passes
    `)
    for (const { openedAt, closesAt, passes, ...gate } of rows)
      this.#loaded.set(gateKey(gate), { gate, window: { openedAt, closesAt, passes } })
  }

  /** Lets a run pass, or not. The first one after a window has closed opens the next. */
  pass({ gate, limit, until }: GateRequest): GateAnswer {
    const key = gateKey(gate)
    const loaded = this.#loaded.get(key)
    assert(loaded, `the gate of ${gate.stepRef} is not loaded`)
    const isOpen = loaded.window.closesAt > this.#now
    const window = isOpen ? loaded.window : { openedAt: this.#now, closesAt: until, passes: 0 }
    const { closesAt, passes } = window
    if (passes >= limit) return { kind: 'gate', passed: false, passes, closesAt }
    this.#loaded.set(key, { gate, window: { ...window, passes: passes + 1 } })
    this.#changed.add(key)
    return { kind: 'gate', passed: true, passes: passes + 1, closesAt }
  }

  /** Writes down what passed, in one statement. */
  async save(tx: Transaction): Promise<void> {
    const rows = [...this.#changed].map((key) => this.#loaded.get(key)!)
    if (rows.length === 0) return
    await tx.query(sql`
      update throttle_windows t
      set opened_at = i.opened_at, closes_at = i.closes_at, passes = i.passes
      from unnest(${rows.map(({ gate }) => gate.workflow)}::text[],
        ${rows.map(({ gate }) => gate.stepRef)}::text[],
        ${rows.map(({ gate }) => gate.collection)}::text[],
        ${rows.map(({ gate }) => gate.recipient)}::text[],
        ${rows.map(({ gate }) => gate.key)}::text[],
        ${rows.map(({ window }) => window.openedAt)}::timestamptz[],
        ${rows.map(({ window }) => window.closesAt)}::timestamptz[],
        ${rows.map(({ window }) => window.passes)}::integer[])
        as i (workflow, step_ref, collection, recipient, key, opened_at, closes_at, passes)
      where t.environment = ${this.#environment} and t.workflow = i.workflow
        and t.step_ref = i.step_ref and t.collection = i.collection
        and t.recipient = i.recipient and t.key = i.key
    `)
  }
}

function gateKey({ workflow, stepRef, collection, recipient, key }: Gate): string {
  return JSON.stringify([workflow, stepRef, collection, recipient, key])
}

/** Deletes some of the windows that have closed, of all environments. Answers how many. */
export async function sweepThrottleWindows(db: Queryable, now: Date): Promise<number> {
  const rows = await db.query(sql`
    delete from throttle_windows
    where (environment, workflow, step_ref, collection, recipient, key) in (
      select environment, workflow, step_ref, collection, recipient, key from throttle_windows
      where closes_at < ${new Date(now.getTime() - KEPT_MS)}
      order by closes_at
      limit ${SWEEP_ROWS_MAX}
      for update skip locked
    )
    returning environment
  `)
  return rows.length
}
