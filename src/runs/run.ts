import type { RecipientRef } from '../recipients/recipient.ts'
import type { ReachedBy } from '../recipients/subscribers.ts'
import type {
  BatchId,
  EnvironmentName,
  RunId,
  StepRef,
  VersionId,
  WorkflowKey,
  WorkflowRunId,
} from '../ids.ts'

/**
 * Where a run stands: the index of its next step, then, for each nesting, the child list and the
 * index in it. `[2, 1, 0]` is the first step of the second branch of the third step.
 */
export type Position = readonly number[]

/** What the wire shows of a run's life. */
export type RunStatus = 'queued' | 'processing' | 'paused' | 'completed' | 'cancelled'

/** How a run ended; all but `cancelled` read `completed` on the wire. */
export type RunOutcome = 'completed' | 'batched' | 'throttled' | 'halted' | 'failed' | 'cancelled'

/** What a paused run sleeps for. */
export type WaitReason = 'delay' | 'batch' | 'event' | 'retry' | 'fetch'

/** A run as the engine works on it: locked, queued, about to go on. */
export interface QueuedRun {
  readonly environment: EnvironmentName
  readonly id: RunId
  /** It is in Postgres once this piece of work is. */
  readonly isNew: boolean
  readonly workflowRunId: WorkflowRunId
  readonly workflow: WorkflowKey
  readonly versionId: VersionId
  readonly collection: string
  readonly recipient: string
  readonly position: Position
  readonly steps: number
  readonly attempt: number
  readonly waitsFor: WaitReason | null
  /** It still sleeps, and is only asked to look whether what it waits for has come. */
  readonly asleep: boolean
  readonly errorCount: number
  /** The batch that it waits for, or that it went on from. */
  readonly batchId: BatchId | null
  /**
   * What was said for this recipient over the trigger's data: `$trigger_data`, and what steps changed. Behind a
   * batch it is all the data that there is.
   */
  readonly data: Readonly<Record<string, unknown>> | null
  /** The subscription by which the trigger has reached it, as it was then. */
  readonly subscription: ReachedBy | null
}

/** What all runs of one trigger share. */
export interface WorkflowRun {
  readonly id: WorkflowRunId
  readonly data: Readonly<Record<string, unknown>>
  readonly actor: RecipientRef | null
  readonly tenant: string | null
  readonly settings: TriggerSettings
  readonly cancellationKey: string | null
  /** How many runs have started each other before this trigger; 0 of one that came from outside. */
  readonly depth: number
  /** The schedule that triggered it; null where something else did. */
  readonly schedule: ScheduledBy | null
}

/** What a run shows of the schedule that it comes from. */
export interface ScheduledBy {
  readonly id: string
  /** Its name in the environment's file; null for one that was made through the API. */
  readonly key: string | null
  /** When it was due, ISO 8601. */
  readonly occurrence_at: string
}

/** What has triggered a workflow. */
export type TriggerSource =
  | 'api'
  | 'replay'
  | 'workflow_step'
  | 'audience'
  | 'integration'
  | 'schedule'

export interface TriggerSettings {
  readonly sandbox_mode?: boolean
  readonly skip_delay?: boolean
}

/** One entry of the timeline, as stored: its place is its id. Times are ISO 8601, UTC. */
export interface TimelineEvent {
  readonly event: string
  readonly status: 'ok' | 'error'
  readonly attempt: number
  readonly data: Readonly<Record<string, unknown>> | null
  readonly at: string
}

/** The row of one step reached: what happened there. */
export interface StepRecord {
  readonly number: number
  readonly ref: StepRef | null
  readonly type: string | null
  readonly events: readonly TimelineEvent[]
}

/** Where a run stands after a step. */
export type Progress =
  | { readonly kind: 'queued'; readonly position: Position }
  /** A request of its step is made, and the run goes on with the answer. */
  | { readonly kind: 'calling'; readonly position: Position; readonly attempt: number }
  | {
      readonly kind: 'paused'
      readonly position: Position
      readonly waitsFor: WaitReason
      readonly wakesAt: Date
      readonly attempt: number
    }
  | { readonly kind: 'ended'; readonly outcome: RunOutcome; readonly reason: string | null }
