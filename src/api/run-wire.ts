import { contentToWire, messageToWire } from '../messages/wire.ts'
import type { DryRun } from '../runs/dry-run.ts'
import type { RunRow, TimelineEntry } from '../runs/read.ts'
import { toWireReference } from './reference.ts'

/** A run in the contract's shape, with what it lacks beside it. */
export function toRun(row: RunRow) {
  return {
    __typename: 'WorkflowRecipientRun',
    id: row.id,
    workflow_run_id: row.workflow_run_id,
    workflow: row.workflow,
    status: row.status,
    outcome: row.outcome,
    reason: row.reason,
    version: row.version_id,
    revision: row.revision,
    recipient: toWireReference({ collection: row.collection, id: row.recipient }),
    actor: row.actor && toWireReference(row.actor),
    tenant: row.tenant,
    error_count: row.error_count,
    waits_for: row.waits_for,
    wakes_at: row.wakes_at,
    trigger_source: row.trigger_source,
    inserted_at: row.inserted_at,
    updated_at: row.updated_at,
    finished_at: row.finished_at,
  }
}

/** One event of a run's timeline, in the contract's shape. */
export function toEvent(entry: TimelineEntry) {
  const { id, event, status, step_ref, step_type, attempt, data, at } = entry
  const typename = 'WorkflowRecipientRunEvent'
  return {
    __typename: typename,
    id,
    event,
    status,
    step_ref,
    step_type,
    attempt,
    data,
    inserted_at: at,
  }
}

/** What a trigger would do: nothing that an id in it names is there. */
export function toDryRun({ workflowRun, runs }: DryRun) {
  return {
    __typename: 'DryRun',
    workflow: workflowRun.workflow,
    version: workflowRun.version_id,
    revision: workflowRun.revision,
    recipients_missing: workflowRun.missing.map(toWireReference),
    runs: runs.map(({ run, timeline, messages }) => ({
      ...toRun(run),
      events: timeline.map(toEvent),
      messages: messages.map(({ message, content }) => ({
        ...messageToWire(message),
        content: content ? contentToWire(content) : null,
      })),
    })),
  }
}
