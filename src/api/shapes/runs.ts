import { MessageContent, messageFields } from './messages.ts'
import { counts, RecipientReference } from './recipients.ts'
import {
  component,
  count,
  entity,
  json,
  listOf,
  nullableText,
  nullableTime,
  oneOf,
  orNull,
  shape,
  text,
  time,
} from './shape.ts'

export const RUN_STATUSES = ['queued', 'processing', 'paused', 'completed', 'cancelled'] as const
const OUTCOMES = ['completed', 'batched', 'throttled', 'halted', 'failed', 'cancelled', null]

export const WorkflowRunId = component('WorkflowRunId', { workflow_run_id: text })

export const WorkflowRun = entity('WorkflowRun', {
  id: text,
  workflow: text,
  version: text,
  revision: text,
  trigger_source: json,
  actor: orNull(RecipientReference),
  tenant: nullableText,
  fan_out: oneOf(['pending', 'done']),
  runs: shape({ total: count, by_status: counts, by_outcome: counts }),
  recipients_missing: listOf(RecipientReference),
  cancelled_at: nullableTime,
  inserted_at: time,
})

const runFields = {
  id: text,
  workflow_run_id: text,
  workflow: text,
  status: oneOf(RUN_STATUSES),
  outcome: oneOf(OUTCOMES),
  reason: nullableText,
  version: text,
  revision: text,
  recipient: RecipientReference,
  actor: orNull(RecipientReference),
  tenant: nullableText,
  error_count: count,
  waits_for: nullableText,
  wakes_at: nullableTime,
  trigger_source: json,
  inserted_at: time,
  updated_at: time,
  finished_at: nullableTime,
}

export const WorkflowRecipientRun = entity('WorkflowRecipientRun', runFields)

const WorkflowRecipientRunEvent = entity('WorkflowRecipientRunEvent', {
  id: text,
  event: { ...text, description: 'A word of the timeline.' },
  status: text,
  step_ref: nullableText,
  step_type: nullableText,
  attempt: { type: ['integer', 'null'] },
  data: { description: 'By the event.' },
  inserted_at: time,
})

const run = { __typename: { const: 'WorkflowRecipientRun' }, ...runFields }

export const WorkflowRecipientRunDetails = component('WorkflowRecipientRunDetails', {
  ...run,
  events: listOf(WorkflowRecipientRunEvent),
})

export const DryRun = entity('DryRun', {
  workflow: text,
  version: text,
  revision: text,
  recipients_missing: listOf(RecipientReference),
  runs: listOf(
    component('DryRecipientRun', {
      ...run,
      events: listOf(WorkflowRecipientRunEvent),
      messages: listOf(
        component('DryMessage', {
          __typename: { const: 'Message' },
          ...messageFields,
          content: orNull(MessageContent),
        }),
      ),
    }),
  ),
})
