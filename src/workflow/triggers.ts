import { KEY_PATTERN } from '../ids.ts'
import { plainTreeFields } from '../steps/fields.ts'
import type { TemplateField, TemplateTree } from '../steps/step.ts'
import { checkDataSchema, compileDataSchema } from './data-schema.ts'
import { errorAt, warningAt, type Diagnostic } from './diagnostic.ts'
import type { NameUse } from './names.ts'
import type { ParsedFile } from './parse.ts'
import type { Trigger } from './workflow.ts'

/** An event of a source that starts the workflow. Its fields are rendered with `event`. */
export interface EventTrigger {
  readonly source: string
  readonly event: string
  readonly recipients: TemplateTree
  readonly actor?: TemplateTree
  readonly tenant?: TemplateTree
  readonly data?: TemplateTree
  readonly cancellation_key?: TemplateTree
}

/** The fields of such a trigger that are templates, in the order of a trigger's body. */
export const eventTrees = ['recipients', 'actor', 'tenant', 'data', 'cancellation_key'] as const

const tree = ['string', 'object', 'array', 'number', 'boolean', 'null'] as const

/** The JSON Schema of `trigger.events`. */
export const eventsSchema = {
  description: 'Events of sources that start the workflow, with what makes a trigger of each.',
  type: 'array',
  minItems: 1,
  maxItems: 50,
  items: {
    type: 'object',
    required: ['source', 'event', 'recipients'],
    properties: {
      source: {
        description: 'The key of a source of the environment.',
        type: 'string',
        pattern: KEY_PATTERN,
      },
      event: {
        description: 'The name of the event.',
        type: 'string',
        minLength: 1,
        maxLength: 255,
      },
      recipients: { description: 'Whom it runs for, as in a trigger.', type: tree },
      actor: { description: 'Who causes it, as in a trigger.', type: tree },
      tenant: { description: 'The tenant, as in a trigger.', type: tree },
      data: { description: 'The data; none when left out.', type: ['string', 'object'] },
      cancellation_key: { description: 'The key that it can be cancelled by.', type: 'string' },
    },
    additionalProperties: false,
  },
} as const

/** Every template in the events of a trigger. */
export function eventTemplates({ events = [] }: Trigger): readonly TemplateField[] {
  return events.flatMap((one, index) =>
    eventTrees.flatMap((name) => plainTreeFields(['trigger', 'events', index, name], one[name])),
  )
}

/** Warns of what such a template names beside the event: it would render empty. */
export function checkEventNames(names: readonly NameUse[]): readonly Diagnostic[] {
  return names.flatMap(({ path, place }) => {
    const [root = ''] = path.split('.')
    if (root === 'event') return []
    const message = `nothing is called "${root}" here: it renders empty`
    const hint = 'What is known of an event is "event", as it was sent.'
    return [warningAt(place.path, place, { code: 'unknown_name', message, hint })]
  })
}

/** Whoever joins an audience brings no data: a schema that wants some would keep everybody out. */
export function checkAudiences(
  file: ParsedFile,
  { audiences, data_schema: schema }: Trigger,
): readonly Diagnostic[] {
  if (audiences === undefined || schema === undefined || checkDataSchema(schema)) return []
  const [violation] = compileDataSchema(schema)({})
  if (!violation) return []
  const message = `joining an audience brings no data, which the data schema does not take: data${violation.field} ${violation.message}`
  const hint = 'Require nothing of the data, or start the workflow in another way.'
  const at = file.locate(['trigger', 'audiences'])
  return [errorAt(file.path, at, { code: 'audience_data', message, hint })]
}
