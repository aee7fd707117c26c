import { RequestError } from '../errors.ts'
import { channelId } from '../ids.ts'
import { effectivePreferences, PREFERENCE_CHANNEL_TYPES } from '../language/preferences.ts'
import { loadEnvironment } from '../messages/environments.ts'
import { invalid, toScope, type Recipient } from '../recipients/recipient.ts'
import { findWorkflow, type WorkflowView } from '../reconcile/read.ts'
import { askPreferences, preferenceChannelType, toDecision } from '../runs/preferences.ts'
import { secretPlaceholders } from '../runs/scope.ts'
import type { Channel, EnvironmentSettings } from '../workflow/environment.ts'
import { findChannel } from './channel.ts'
import type { Counting } from './preference-counting.ts'
import type { ReadRequest } from './route.ts'
import { preferenceFields } from './shapes/recipients.ts'
import {
  anything,
  component,
  flag,
  json,
  listOf,
  nullableText,
  oneOf,
  orNull,
  shape,
  text,
} from './shapes/shape.ts'
import { workflowScope } from '../workflow/workflow.ts'

/** What may be asked to be explained. */
export const explainQuery = {
  explain: { type: 'boolean', description: 'Whether to say why.' },
  workflow: { type: 'string', description: 'The workflow that it is asked for.' },
  channel: { type: 'string', description: 'The id or key of the channel that it is asked for.' },
} as const

const Finding = component(
  'PreferenceFinding',
  {
    setting: text,
    set: text,
    id: nullableText,
    result: flag,
    conditions: { type: 'array', description: 'Each with its operands and result.' },
  },
  { optional: ['conditions'] },
)

const layer = {
  set: oneOf(['recipient', 'tenant', 'environment']),
  id: nullableText,
}

/** A set, and why it is what it is where that was asked. */
export const ExplainedPreferences = component(
  'ExplainedPreferenceSet',
  {
    ...preferenceFields,
    explain: component('PreferenceExplanation', {
      tenant: nullableText,
      tenant_without_preferences: flag,
      sets: listOf(shape({ ...layer, settings: json })),
      settings: listOf(shape({ ...layer, setting: text, value: anything })),
      decisions: listOf(
        shape(
          {
            workflow: text,
            channel: text,
            channel_id: text,
            channel_type: oneOf(PREFERENCE_CHANNEL_TYPES),
            result: flag,
            overridden: anything,
            decided_by: orNull(Finding),
            settings: listOf(Finding),
            tenant_without_preferences: flag,
          },
          { optional: ['overridden', 'tenant_without_preferences'] },
        ),
      ),
    }),
  },
  { optional: ['explain'] },
)

interface ExplainQuery {
  readonly workflow?: string
  readonly channel?: string
}

interface Explained {
  readonly recipient: Recipient
  readonly counting: Counting
}

/**
 * Says which sets count for a recipient, where each setting stands, and, where a workflow is named, whether it
 * may send through each channel of the environment, or through the one that is named. What a trigger would bring
 * is not known here: conditions that ask for it find nothing. Throws a `RequestError`: 404 `workflow_missing`,
 * 422 for an unknown channel.
 */
export async function explainPreferences(
  request: ReadRequest,
  explained: Explained,
): Promise<object> {
  const { layers, tenantId } = explained.counting
  return {
    tenant: tenantId,
    tenant_without_preferences: layers.fallback,
    sets: layers.layers,
    settings: effectivePreferences(layers).leaves,
    decisions: await decisionsOf(request, explained),
  }
}

async function decisionsOf(request: ReadRequest, explained: Explained): Promise<readonly object[]> {
  const { database, environment, now } = request
  const { workflow: key }: ExplainQuery = request.query
  if (key === undefined) return []
  const workflow = await findWorkflow(database, environment, key)
  if (!workflow) {
    const message = `workflow "${key}" does not exist in ${environment}`
    throw new RequestError(404, 'workflow_missing', message)
  }
  const settings = (await loadEnvironment(database, environment))?.settings
  if (!settings) return []
  const { layers } = explained.counting
  const scope = scopeOf(workflow, settings, explained)
  return (await channelsOf(request, settings)).map((channel) => {
    const intent = { key, workflow: workflow.workflow, channel }
    const decision = askPreferences(layers, intent, { scope, now })
    return {
      workflow: key,
      channel: channel.key,
      channel_id: channelId(channel.key),
      channel_type: preferenceChannelType(channel.type),
      ...(toDecision(decision, layers) ?? { result: true, decided_by: null, settings: [] }),
    }
  })
}

async function channelsOf(
  { database, environment, query }: ReadRequest,
  { channels }: EnvironmentSettings,
): Promise<readonly Channel[]> {
  const { channel: named }: ExplainQuery = query
  if (named === undefined) return Object.values(channels)
  const key = await findChannel(database, environment, named)
  const channel = key === undefined ? undefined : channels[key]
  if (channel) return [channel]
  throw invalid('?/channel', `"${named}" is neither key nor id of a channel of ${environment}`)
}

/** What conditions can name while nothing was triggered. */
function scopeOf(
  { key, workflow }: WorkflowView,
  settings: EnvironmentSettings,
  { recipient, counting }: Explained,
): object {
  return {
    recipient: toScope(recipient),
    actor: null,
    tenant: counting.tenant ? toScope(counting.tenant) : null,
    data: {},
    vars: secretPlaceholders(settings).open,
    workflow: workflowScope(key, workflow),
    run: {},
  }
}
