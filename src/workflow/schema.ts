import { KEY_PATTERN } from '../ids.ts'
import { memoized } from '../memo.ts'
import { Ajv2020, type ErrorObject } from 'ajv/dist/2020.js'
import type { StepType } from '../steps/step.ts'
import { conditionsSchema } from '../language/conditions.ts'
import { listStepTypes } from '../steps/index.ts'
import {
  environmentSchema,
  policyFields,
  promotesFromField,
  type ProviderShape,
} from './environment-schema.ts'
import { eventsSchema } from './triggers.ts'
import { TRIGGER_FREQUENCIES } from './workflow.ts'

/** How many steps a workflow may have, those in branches included. */
export const STEPS_MAX = 100

const stepConditions = { $ref: '#/$defs/conditions' } as const

/** The fields that steps of all types share; a branch step has no conditions. */
export const stepFields = {
  ref: {
    description: 'Names the step: lower-case letters, digits and "_"; unique in the workflow.',
    type: 'string',
    pattern: '^[a-z][a-z0-9_]*$',
    maxLength: 255,
  },
  name: { description: 'What the timeline calls the step.', type: 'string', maxLength: 255 },
  description: { description: 'For its readers.', type: 'string', maxLength: 1000 },
  conditions: { ...stepConditions, description: 'Where they do not hold, the step is skipped.' },
} as const

/** The fields of `workflow.yaml` beside `steps`. */
export const workflowFields = {
  name: { description: 'What people call it.', type: 'string', minLength: 1, maxLength: 255 },
  description: { description: 'What it is for.', type: 'string', maxLength: 1000 },
  categories: {
    description: 'What people switch off in their preferences.',
    type: 'array',
    maxItems: 50,
    items: { type: 'string', minLength: 1, maxLength: 255 },
  },
  commercial: {
    description:
      'Whether `commercial_subscribed` of preferences is asked for; `false` unless told.',
    type: 'boolean',
  },
  override_preferences: {
    description: 'Whether it is sent whatever preferences say, such as a password reset.',
    type: 'boolean',
  },
  tags: {
    description: 'For the order of your house; without effect.',
    type: 'array',
    maxItems: 50,
    items: { type: 'string', minLength: 1, maxLength: 255 },
  },
  trigger: {
    description: 'What a trigger may and must bring.',
    type: 'object',
    properties: {
      data_schema: {
        description: 'JSON Schema 2020-12 of `data`, inline or `{ file: path }`.',
        type: ['object', 'boolean'],
      },
      frequency: {
        description:
          'How often the workflow runs for the same recipient; `every_trigger` unless told.',
        enum: TRIGGER_FREQUENCIES,
      },
      events: eventsSchema,
      audiences: {
        description: 'Keys of audiences: the workflow runs for whoever joins one of them.',
        type: 'array',
        minItems: 1,
        maxItems: 50,
        uniqueItems: true,
        items: { type: 'string', pattern: KEY_PATTERN },
      },
    },
    additionalProperties: false,
  },
  conditions: {
    ...stepConditions,
    description: 'Where they do not hold, the run halts before its first step.',
  },
} as const

/** The JSON Schema of `workflow.yaml`, composed of the step types. */
export function workflowSchema(): object {
  const types = listStepTypes()
  const steps = Object.fromEntries(types.map((type) => [`step.${type.type}`, stepSchema(type)]))
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'A workflow of Belfry',
    type: 'object',
    required: ['name', 'steps'],
    properties: {
      ...workflowFields,
      steps: {
        $ref: '#/$defs/steps',
        type: 'array',
        description: 'Run from first to last.',
        minItems: 1,
      },
    },
    additionalProperties: false,
    $defs: {
      conditions: conditionsSchema,
      steps: { type: 'array', maxItems: STEPS_MAX, items: { $ref: '#/$defs/step' } },
      step: {
        type: 'object',
        required: ['type'],
        discriminator: { propertyName: 'type' },
        oneOf: types.map(({ type }) => ({ $ref: `#/$defs/step.${type}` })),
      },
      ...steps,
    },
  }
}

function stepSchema({ type, summary, schema, conditional }: StepType<string, object>): object {
  return {
    description: summary,
    type: 'object',
    required: ['ref', 'type', ...schema.required],
    properties: {
      ref: stepFields.ref,
      type: { const: type },
      name: stepFields.name,
      description: stepFields.description,
      ...(conditional && { conditions: stepFields.conditions }),
      ...schema.properties,
    },
    additionalProperties: false,
  }
}

/** Says what is wrong with a value; nothing where it is as the schema wants it. */
export type Validate = (value: unknown) => readonly ErrorObject[]

/** The JSON Schema of a policy file: policies by the names of environments. */
const policyFileSchema = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  type: 'object',
  propertyNames: {
    description: 'two or more of a-z, 0-9, "_" and "-", starting with a letter or digit',
    pattern: KEY_PATTERN,
  },
  additionalProperties: {
    type: 'object',
    properties: { ...policyFields, promotes_from: promotesFromField },
    additionalProperties: false,
  },
}

let compiledWorkflow: Validate | undefined
let compiledPolicies: Validate | undefined
const compiledEnvironments = memoized((providers: readonly ProviderShape[]) =>
  compile(environmentSchema(providers)),
)

/** What is wrong with the value of a workflow file. The schema is compiled at the first call. */
export function validateWorkflow(value: unknown): readonly ErrorObject[] {
  compiledWorkflow ??= compile(workflowSchema())
  return compiledWorkflow(value)
}

/** What is wrong with the value of a policy file. */
export function validatePolicies(value: unknown): readonly ErrorObject[] {
  compiledPolicies ??= compile(policyFileSchema)
  return compiledPolicies(value)
}

/** What is wrong with the value of an environment file, for these providers. */
export function validateEnvironment(
  providers: readonly ProviderShape[],
  value: unknown,
): readonly ErrorObject[] {
  return compiledEnvironments(providers)(value)
}

function compile(schema: object): Validate {
  const ajv = new Ajv2020({
    allErrors: true,
    // The explanations read the value and the schema of an error.
    verbose: true,
    strict: true,
    strictRequired: false,
    discriminator: true,
    allowUnionTypes: true,
  })
  const validate = ajv.compile(schema)
  return (value) => (validate(value) ? [] : (validate.errors ?? []))
}
