import type { Transaction } from '../db/database.ts'
import { RequestError } from '../errors.ts'
import type { VersionId, WorkflowKey } from '../ids.ts'
import { renderTree, TemplateError } from '../language/templates.ts'
import { invalid } from '../recipients/recipient.ts'
import { checkText } from '../recipients/text.ts'
import { eventTrees, type EventTrigger } from '../workflow/triggers.ts'
import { partialsOf } from '../workflow/render.ts'
import { listed, present } from './nested-step.ts'
import type { OutsideTrigger, StartContext, Started } from './outside.ts'
import { startWorkflows } from './outside.ts'
import type { EventResult } from './source-event.ts'
import { listEventWorkflows, type EventWorkflow, type NumberedEvent } from './source-store.ts'
import { parseTrigger, type TriggerRequest } from './trigger-request.ts'
import { loadVersions, type LoadedVersion } from './versions.ts'

/** What came of an event with one of the workflows that name it. */
export interface EventOutcome {
  readonly id: string
  readonly result: EventResult
}

/**
 * Starts the workflows that name these events of a source, with a fixed number of statements. What cannot be
 * started is told with the others and keeps none of them.
 */
export async function startForEvents(
  tx: Transaction,
  context: StartContext,
  { source, events }: { readonly source: string; readonly events: readonly NumberedEvent[] },
): Promise<readonly EventOutcome[]> {
  const names = [...new Set(events.flatMap(({ event }) => event ?? []))]
  const named = await listEventWorkflows(tx, { ...context, source }, names)
  if (named.length === 0) return []
  const versions = await loadVersions(
    tx,
    named.map(({ versionId }) => versionId),
  )
  const made = triggersOf(source, events, { named, versions })
  const triggers = made.flatMap((one) => ('trigger' in one ? [one] : []))
  const started = await startWorkflows(
    tx,
    context,
    triggers.map(({ trigger }) => trigger),
  )
  return [
    ...made.flatMap((one) => ('trigger' in one ? [] : [one])),
    ...triggers.map(({ id, trigger: { workflow } }, index) => ({
      id,
      result: resultOf(workflow, started[index]!),
    })),
  ]
}

/** What each of these events makes with each workflow that names it: a trigger, or why it makes none. */
function triggersOf(
  source: string,
  events: readonly NumberedEvent[],
  {
    named,
    versions,
  }: {
    readonly named: readonly EventWorkflow[]
    readonly versions: ReadonlyMap<VersionId, LoadedVersion>
  },
): readonly (EventOutcome | { readonly id: string; readonly trigger: OutsideTrigger })[] {
  const byEvent = Map.groupBy(named, ({ event }) => event)
  return events.flatMap((one) => {
    const { id, event } = one
    return (byEvent.get(event ?? '') ?? []).flatMap(({ workflow, versionId }) => {
      const version = versions.get(versionId)!
      const meant = (version.workflow.trigger?.events ?? []).filter(
        (trigger) => trigger.source === source && trigger.event === event,
      )
      return meant.map((trigger) => {
        const request = requestOf(version, trigger, one)
        if (request instanceof RequestError) return { id, result: resultOf(workflow, request) }
        const of = { type: 'integration', source, event, event_id: id } as const
        return { id, trigger: { workflow, request, source: of } }
      })
    })
  })
}

function resultOf(workflow: WorkflowKey, one: Started | RequestError): EventResult {
  if ('kind' in one && one.kind === 'started')
    return { workflow, workflow_run_id: one.workflowRunId }
  const { code, message } = one
  return { workflow, error: { code, message } }
}

/** The trigger that an event makes, read as a call's body is; or what is wrong with it. */
function requestOf(
  version: LoadedVersion,
  trigger: EventTrigger,
  { body }: NumberedEvent,
): TriggerRequest | RequestError {
  const rendering = { partials: partialsOf(version), scope: { event: body }, name: version.key }
  try {
    const trees = Object.fromEntries(eventTrees.map((name) => [name, trigger[name]]))
    const rendered = renderTree(trees, rendering) as Record<(typeof eventTrees)[number], unknown>
    checkText(rendered, '')
    const request = parseTrigger({
      recipients: listed(rendered.recipients),
      actor: present(rendered.actor),
      tenant: present(rendered.tenant),
      data: present(rendered.data) ?? {},
      cancellation_key: present(rendered.cancellation_key),
    })
    return request.entities.some(({ channelData }) => channelData)
      ? invalid('/channel_data', 'is not taken from an event: write it through the API')
      : request
  } catch (error) {
    if (error instanceof RequestError) return error
    if (error instanceof TemplateError) return new RequestError(422, error.code, error.message)
    throw error
  }
}
