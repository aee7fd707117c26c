import { assert, RequestError } from '../errors.ts'
import { invalid, recipientKey, USERS, type RecipientRef } from '../recipients/recipient.ts'
import { checkText } from '../recipients/text.ts'
import type { Step } from '../steps/index.ts'
import type { Outcome } from '../steps/step.ts'
import type { WorkflowKey } from '../ids.ts'
import type { Decision } from './advance.ts'
import type { Answer, Request } from './gates.ts'
import { dataOf } from './scope.ts'
import { parseTrigger, type TriggerRequest } from './trigger-request.ts'
import type { Walker } from './walker.ts'

/** How many workflows may start each other in a row, so that none does for ever. */
export const NESTED_DEPTH_MAX = 10

/** Asks for another workflow; the run goes on whatever becomes of that one. */
export function* atTrigger(
  walker: Walker,
  step: Step,
  outcome: Outcome & { readonly kind: 'trigger' },
): Generator<Request, Decision, Answer> {
  const { run, shared } = walker
  const depth = shared.depth + 1
  if (depth > NESTED_DEPTH_MAX) {
    const details = `workflows may start each other ${NESTED_DEPTH_MAX} deep, not deeper`
    return failed(details)
  }
  const request = read(walker, outcome)
  if (request instanceof RequestError) return failed(request.message)
  const workflow = outcome.workflow as WorkflowKey
  const answer = yield { kind: 'trigger', run, stepRef: step.ref, workflow, request, depth }
  assert(answer.kind === 'nested', 'a trigger was asked for')
  const { nested } = answer
  if (nested.kind === 'unavailable') return { kind: 'skip', reason: nested.reason }
  if (nested.kind === 'refused') return failed(nested.message)
  const data = {
    workflow,
    workflow_run_id: nested.workflowRunId,
    version: nested.versionId,
    recipients: request.recipients.length,
    depth,
  }
  return { kind: 'next', events: [{ event: 'workflow_triggered', status: 'ok', data }] }
}

/** What the step wants, read as the body of a trigger is; or what is wrong with it. */
function read(
  walker: Walker,
  outcome: Outcome & { readonly kind: 'trigger' },
): TriggerRequest | RequestError {
  const { run, shared } = walker
  const { recipients, actor, tenant, data, cancellationKey } = outcome
  const own: RecipientRef = { collection: run.collection, id: run.recipient }
  const body = {
    recipients: recipients === undefined ? [named(own)] : listed(recipients),
    actor: actor === undefined ? shared.actor && named(shared.actor) : present(actor),
    tenant: tenant === undefined ? shared.tenant : present(tenant),
    data: data === undefined ? dataOf(shared, run) : data,
    cancellation_key:
      cancellationKey === undefined ? shared.cancellationKey : present(cancellationKey),
    settings: shared.settings,
  }
  try {
    // What the run has is in Postgres already; what templates have made is not.
    checkText({ recipients, actor, tenant, data, cancellationKey }, '')
    const request = parseTrigger(body)
    if (request.entities.some(({ channelData }) => channelData))
      return invalid('/channel_data', 'is not taken from a step: write it through the API')
    // What sends nothing shall leave no other traces in the world either.
    return shared.settings.sandbox_mode === true ? { ...request, entities: [] } : request
  } catch (error) {
    if (error instanceof RequestError) return error
    throw error
  }
}

/** As a trigger names somebody that is known already. */
function named(ref: RecipientRef): unknown {
  return ref.collection === USERS ? ref.id : ref
}

/** One recipient is a list of one. */
export function listed(value: unknown): unknown {
  if (Array.isArray(value)) return value
  return present(value) === null ? [] : [value]
}

/** What an expression that names nothing renders to counts as left out. */
export function present(value: unknown): unknown {
  return value === '' || value === undefined ? null : value
}

/** Whether the actor of a request is one that it brings along. */
export function bringsActor({ actor, entities }: TriggerRequest): boolean {
  return actor !== null && entities.some((one) => recipientKey(one) === recipientKey(actor))
}

function failed(message: string): Decision {
  return { kind: 'fail', message, retryable: false }
}
