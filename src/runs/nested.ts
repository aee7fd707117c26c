import type { Transaction } from '../db/database.ts'
import { assert, RequestError } from '../errors.ts'
import {
  newId,
  type EnvironmentName,
  type StepRef,
  type VersionId,
  type WorkflowKey,
  type WorkflowRunId,
} from '../ids.ts'
import { recipientKey, type RecipientRef } from '../recipients/recipient.ts'
import { loadRecipients } from '../recipients/store.ts'
import { isLarge, type RunJob } from './jobs.ts'
import { bringsActor } from './nested-step.ts'
import type { QueuedRun } from './run.ts'
import type { InlineEntity, TriggerRequest } from './trigger-request.ts'
import { checkData, loadVersions, type LoadedVersion } from './versions.ts'
import {
  insertWorkflowRuns,
  loadTargets,
  type NewWorkflowRun,
  type Target,
} from './workflow-run-store.ts'

/** A run whose step starts another workflow. */
export interface NestedRequest {
  readonly kind: 'trigger'
  readonly run: QueuedRun
  readonly stepRef: StepRef
  readonly workflow: WorkflowKey
  readonly request: TriggerRequest
  readonly depth: number
}

export interface NestedAnswer {
  readonly kind: 'nested'
  readonly nested: Nested
}

/** What became of a trigger by a step. */
export type Nested =
  | {
      readonly kind: 'triggered'
      readonly workflowRunId: WorkflowRunId
      readonly versionId: VersionId
    }
  /** The workflow may not run, or is not there. */
  | {
      readonly kind: 'unavailable'
      readonly reason: 'workflow_missing' | 'workflow_archived' | 'workflow_inactive'
    }
  /** A trigger through the API would be refused. */
  | { readonly kind: 'refused'; readonly message: string }

/**
 * The workflows that the runs of one chunk start. All of them begin when the chunk is committed, each with the
 * version that is live then, and none begins where it is not.
 */
export class NestedTriggers {
  readonly #environment: EnvironmentName
  readonly #now: Date
  readonly #targets = new Map<WorkflowKey, Target>()
  #versions: ReadonlyMap<VersionId, LoadedVersion> = new Map()
  /** Of those asked for: whether somebody of that name is known. */
  readonly #actors = new Map<string, boolean>()
  readonly #made: NewWorkflowRun[] = []

  constructor(environment: EnvironmentName, now: Date) {
    this.#environment = environment
    this.#now = now
  }

  /** Reads what these runs want to start, and who they say has caused it, with a fixed number of queries. */
  async load(tx: Transaction, requests: readonly NestedRequest[]): Promise<void> {
    const keys = new Set(requests.map(({ workflow }) => workflow))
    for (const key of this.#targets.keys()) keys.delete(key)
    if (keys.size > 0) {
      for (const target of await loadTargets(tx, this.#environment, [...keys], this.#now))
        this.#targets.set(target.workflow, target)
      const ids = [...this.#targets.values()].flatMap(({ versionId }) => versionId ?? [])
      this.#versions = await loadVersions(tx, ids)
    }
    const actors = new Map<string, RecipientRef>()
    for (const { request } of requests) {
      const { actor } = request
      if (actor && !bringsActor(request) && !this.#actors.has(recipientKey(actor)))
        actors.set(recipientKey(actor), actor)
    }
    if (actors.size === 0) return
    const known = await loadRecipients(tx, this.#environment, [...actors.values()])
    for (const key of actors.keys()) this.#actors.set(key, false)
    for (const actor of known) this.#actors.set(recipientKey(actor), true)
  }

  /** Starts the workflow of one run, as far as this chunk goes, or says why not. */
  start(asked: NestedRequest): NestedAnswer {
    return { kind: 'nested', nested: this.#start(asked) }
  }

  #start({ run, stepRef, workflow, request, depth }: NestedRequest): Nested {
    const target = this.#targets.get(workflow)
    if (!target?.versionId) return { kind: 'unavailable', reason: 'workflow_missing' }
    if (target.archived) return { kind: 'unavailable', reason: 'workflow_archived' }
    if (target.inactive) return { kind: 'unavailable', reason: 'workflow_inactive' }
    const version = this.#versions.get(target.versionId)
    assert(version, `version ${target.versionId} is not loaded`)
    const refusal = this.#refusal(version, request)
    if (refusal !== undefined) return { kind: 'refused', message: refusal }
    const id = newId<WorkflowRunId>()
    const { versionId, sequence, revision } = target
    const source = {
      type: 'workflow_step',
      run: run.id,
      step: stepRef,
      workflow: run.workflow,
    } as const
    const parent = { runId: run.id, stepRef, depth }
    this.#made.push({ id, workflow, versionId, sequence, revision, request, source, parent })
    return { kind: 'triggered', workflowRunId: id, versionId }
  }

  /** Users, objects and tenants that they bring along. */
  get entities(): readonly InlineEntity[] {
    return this.#made.flatMap(({ request }) => request.entities)
  }

  /** Writes down what was started, in one statement, and answers the jobs that begin it. */
  async save(tx: Transaction): Promise<Readonly<Record<'run' | 'run_bulk', readonly RunJob[]>>> {
    const stored = await insertWorkflowRuns(tx, this.#environment, this.#made, this.#now)
    const jobs: Record<'run' | 'run_bulk', RunJob[]> = { run: [], run_bulk: [] }
    for (const { id, request } of this.#made) {
      if (!stored.has(id)) continue
      const large = isLarge(request)
      const start = { kind: 'start', environment: this.#environment, workflowRunId: id } as const
      jobs[large ? 'run_bulk' : 'run'].push({ ...start, large })
    }
    return jobs
  }

  #refusal(version: LoadedVersion, request: TriggerRequest): string | undefined {
    const { actor, data } = request
    if (actor && !bringsActor(request) && this.#actors.get(recipientKey(actor)) !== true)
      return `actor "${recipientKey(actor)}" is not known in ${this.#environment}`
    try {
      checkData(version, data)
      return undefined
    } catch (error) {
      if (error instanceof RequestError) return error.message
      throw error
    }
  }
}
