import {
  newId,
  type EnvironmentName,
  type RunId,
  type StepRef,
  type VersionId,
  type WorkflowRunId,
} from '../../src/ids.ts'
import type { PendingFetch } from '../../src/runs/fetched.ts'
import type { QueuedRun, RunOutcome, RunStatus, WorkflowRun } from '../../src/runs/run.ts'
import type { LoadedVersion } from '../../src/runs/versions.ts'
import type { Wait } from '../../src/runs/wait-store.ts'
import type { Leg } from './simulated-path.ts'
import { SIMULATED } from './simulated-workflow.ts'

/** The environment that is simulated, and those who are told; their `n` is their place here. */
export const ENVIRONMENT = 'production' as EnvironmentName
export const USERS = ['ada', 'bob', 'cyd', 'dan'] as const

/** A run as the model's store has it, with all that ever happened to it. */
export interface Stored {
  run: QueuedRun
  readonly trigger: WorkflowRun
  version: LoadedVersion
  /** Versions that it has left, each behind a batch that the next one has as well. */
  readonly left: Leg[]
  status: RunStatus
  outcome: RunOutcome | null
  reason: string | null
  wakesAt: number | null
  /** What it has asked, and what became of that. */
  fetch: PendingFetch | null
  /** The steps that it came to, each once, those that sent, and those that asked. */
  readonly visited: StepRef[]
  readonly messages: StepRef[]
  readonly asked: StepRef[]
  readonly waits: Map<StepRef, Wait>
  endings: number
  /** Whether it was taken out of the batch that it names. */
  isCancelled: boolean
}

/** A part of the model that a transaction changes. */
export interface Kept {
  /** Remembers how it stands; what it answers goes back to that. */
  save(): () => void
}

/** A run that has just been triggered. */
export function storedRun(trigger: WorkflowRun, version: LoadedVersion, recipient: string): Stored {
  return {
    run: queuedRun(trigger.id, version.id, recipient),
    trigger,
    version,
    left: [],
    status: 'queued',
    outcome: null,
    reason: null,
    wakesAt: null,
    fetch: null,
    visited: [],
    messages: [],
    asked: [],
    waits: new Map(),
    endings: 0,
    isCancelled: false,
  }
}

function queuedRun(workflowRunId: WorkflowRunId, versionId: VersionId, recipient: string) {
  return {
    environment: ENVIRONMENT,
    id: newId<RunId>(),
    isNew: false,
    workflowRunId,
    workflow: SIMULATED,
    versionId,
    collection: '$users',
    recipient,
    position: [0],
    steps: 0,
    attempt: 0,
    waitsFor: null,
    asleep: false,
    errorCount: 0,
    batchId: null,
    data: null,
    subscription: null,
  }
}

/** What a job may go on with: a run that waits for its batch or an event may look before its time. */
export function isWorkable({ status, run: { waitsFor } }: Stored): boolean {
  if (status === 'queued') return true
  return status === 'paused' && (waitsFor === 'batch' || waitsFor === 'event')
}

/** The `n` of the recipient of a run. */
export function recipientOf({ run }: Pick<Stored, 'run'>): number {
  return USERS.findIndex((user) => user === run.recipient)
}
