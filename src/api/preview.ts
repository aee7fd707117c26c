import type { Queryable } from '../db/database.ts'
import { RequestError } from '../errors.ts'
import type { EnvironmentName } from '../ids.ts'
import { loadEnvironment } from '../messages/environments.ts'
import { findWorkflow } from '../reconcile/read.ts'
import { propertiesOf, TENANTS, toScope, USERS } from '../recipients/recipient.ts'
import { findRecipient } from '../recipients/store.ts'
import { loadVersion } from '../runs/versions.ts'
import { previewWorkflow } from '../workflow/preview.ts'
import { samplesOf, type ParsedSample, type Sample } from '../workflow/sample.ts'
import { ok, type MutationRoute } from './route.ts'
import {
  component,
  count,
  json,
  listOf,
  nullableText,
  oneOf,
  orNull,
  shape,
  text,
} from './shapes/shape.ts'

type Properties = Readonly<Record<string, unknown>>

interface PreviewBody {
  readonly sample?: string
  readonly step?: string
  readonly recipient?: string | Properties | null
  readonly actor?: string | Properties | null
  readonly tenant?: string | Properties | null
  readonly data?: Properties | null
}

const SOMEBODY = { type: ['string', 'object', 'null'] } as const

const WorkflowPreview = component('WorkflowPreview', {
  workflow: text,
  sample: nullableText,
  messages: listOf(
    shape({
      step: text,
      channel: shape({ key: nullableText, type: text, provider: nullableText }),
      recipient: json,
      content: { ...orNull(json), description: 'By the type of the channel.' },
      diagnostics: listOf(
        shape(
          {
            severity: oneOf(['error', 'warning']),
            code: text,
            message: text,
            template: text,
            line: count,
            column: count,
          },
          { optional: ['template', 'line', 'column'] },
        ),
      ),
    }),
  ),
  samples: listOf(nullableText),
})

/** Each message of a workflow, rendered and not stored: what stands in the body goes before the sample. */
const preview: MutationRoute = {
  id: 'workflows.preview',
  summary: 'Renders the messages of a workflow',
  replies: { 200: WorkflowPreview },
  kind: 'mutation',
  method: 'POST',
  path: '/v1/workflows/:key/preview',
  // It shows what is known about recipients.
  scope: 'read',
  environment: 'key',
  body: {
    type: 'object',
    properties: {
      sample: { type: 'string' },
      step: { type: 'string' },
      recipient: SOMEBODY,
      actor: SOMEBODY,
      tenant: SOMEBODY,
      data: { type: ['object', 'null'] },
    },
    additionalProperties: false,
  },
  async handle({ tx, environment, params, body, now }) {
    const key = params['key'] ?? ''
    const { version, settings } = await loadApplied(tx, environment, key)
    const { step, ...given } = body as PreviewBody
    const parsed = samplesOf(version)
    const sample: Sample = {
      ...chosenOf(parsed, given.sample),
      ...(await peopleOf(tx, environment, given)),
      ...(given.data && { data: given.data }),
    }
    const made = previewWorkflow({ version, settings, sample, step, now })
    if (step !== undefined && made.messages.length === 0)
      refuse('/step', `there is no step "${step}" that sends`)
    return ok({ ...made, samples: parsed.map((one) => one.sample.name) })
  },
}

async function loadApplied(tx: Queryable, environment: EnvironmentName, key: string) {
  const view = await findWorkflow(tx, environment, key)
  const applied = await loadEnvironment(tx, environment)
  if (!view || !applied) {
    const message = `workflow "${key}" does not exist in ${environment}`
    throw new RequestError(404, 'workflow_missing', message)
  }
  return { version: await loadVersion(tx, view.versionId), settings: applied.settings }
}

/** The sample of that name, else the first; one that says nothing where there is none. */
function chosenOf(parsed: readonly ParsedSample[], name: string | undefined): Sample {
  const found = parsed.find(({ sample }) => name === undefined || sample.name === name)
  if (!found && name !== undefined) refuse('/sample', `there is no sample "${name}"`)
  return found?.sample ?? { name: '' }
}

function refuse(field: string, message: string): never {
  throw new RequestError(422, 'invalid_params', `${field.slice(1)}: ${message}`, [
    { field, message },
  ])
}

async function peopleOf(
  tx: Queryable,
  environment: EnvironmentName,
  { recipient, actor, tenant }: PreviewBody,
): Promise<Pick<Sample, 'recipient' | 'actor' | 'tenant'>> {
  const find = (given: string | Properties, field: string, collection: string) =>
    personOf(tx, { environment, given, field, collection })
  return {
    ...(recipient && { recipient: await find(recipient, '/recipient', USERS) }),
    ...(actor && { actor: await find(actor, '/actor', USERS) }),
    ...(tenant && { tenant: await find(tenant, '/tenant', TENANTS) }),
  }
}

/** Somebody by id, or with properties laid over what is known. Who is only named has to be known. */
async function personOf(
  tx: Queryable,
  {
    environment,
    given,
    field,
    collection,
  }: {
    readonly environment: EnvironmentName
    readonly given: string | Properties
    readonly field: string
    readonly collection: string
  },
): Promise<Properties> {
  const fields = typeof given === 'string' ? { id: given } : given
  const { id } = fields
  const place = 'collection' in fields ? fields['collection'] : collection
  const known =
    typeof id === 'string' && typeof place === 'string'
      ? await findRecipient(tx, environment, { collection: place, id })
      : undefined
  if (typeof given === 'string' && !known) refuse(field, `"${given}" is not known`)
  return { ...(known && toScope(known)), ...propertiesOf(fields), ...(id !== undefined && { id }) }
}

export const previews = [preview] as const
