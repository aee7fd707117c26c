import type { Transaction } from '../db/database.ts'
import { RequestError } from '../errors.ts'
import { renderTree, TemplateError } from '../language/templates.ts'
import { invalid } from '../recipients/recipient.ts'
import { checkText } from '../recipients/text.ts'
import { eventTrees, type EventTrigger } from '../workflow/triggers.ts'
import { partialsOf } from '../workflow/render.ts'
import { listed, present } from './nested-step.ts'
import type { OutsideTrigger, StartContext } from './outside.ts'
import { startWorkflows } from './outside.ts'
import type { EventResult } from './source-event.ts'
import { listEventWorkflows, type NumberedEvent } from './source-store.ts'
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
  const byEvent = Map.groupBy(named, ({ event }) => event)
  const outcomes: EventOutcome[] = []
  const triggers: (OutsideTrigger & { readonly id: string })[] = []
  for (const event of events) {
    for (const { workflow, versionId } of byEvent.get(event.event ?? '') ?? []) {
      const version = versions.get(versionId)!
      for (const trigger of version.workflow.trigger?.events ?? []) {
        if (trigger.source !== source || trigger.event !== event.event) continue
        const request = requestOf(version, trigger, event)
        if (request instanceof RequestError) {
          const { code, message } = request
          outcomes.push({ id: event.id, result: { workflow, error: { code, message } } })
          continue
        }
        const of = {
          type: 'integration',
          source,
          event: trigger.event,
          event_id: event.id,
        } as const
        triggers.push({ id: event.id, workflow, request, source: of })
      }
    }
  }
  const started = await startWorkflows(tx, context, triggers)
  for (const [index, one] of started.entries()) {
    const { id, workflow } = triggers[index]!
    const result: EventResult =
      one.kind === 'started'
        ? { workflow, workflow_run_id: one.workflowRunId }
        : { workflow, error: { code: one.code, message: one.message } }
    outcomes.push({ id, result })
  }
  return outcomes
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
