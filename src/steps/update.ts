import { templateField, templateSchema, treeFields } from './fields.ts'
import type {
  Outcome,
  StepContext,
  StepType,
  TemplateField,
  TemplateText,
  TemplateTree,
  UpdateTarget,
} from './step.ts'

export interface UpdateData {
  /** Laid over what is there; null clears. */
  readonly properties: Readonly<Record<string, TemplateTree>>
}

export interface UpdateRecipient extends UpdateData {
  /** A user; the run's recipient where it is left out. */
  readonly id?: TemplateText
}

export interface UpdateTenant extends UpdateData {
  /** The run's tenant where it is left out. */
  readonly id?: TemplateText
}

export interface UpdateObject extends UpdateData {
  readonly collection: TemplateText
  readonly id: TemplateText
}

/** What only replies say, or what is kept elsewhere. */
const RESERVED = new Set([
  'id',
  'collection',
  '__typename',
  'updated_at',
  'channel_data',
  'preferences',
])

const propertiesSchema = {
  description:
    'Laid over what is there, at every depth; null clears. Every text in it is a template; one that is a single expression keeps the type of its value.',
  type: 'object',
  minProperties: 1,
} as const

/** Changes the recipient of the run, or another user. */
export const updateRecipient: StepType<'update_recipient', UpdateRecipient> = {
  type: 'update_recipient',
  summary: 'Changes the recipient of the run, or another user.',
  schema: {
    required: ['properties'],
    properties: {
      id: templateSchema("The id of a user; left out, the run's recipient."),
      properties: propertiesSchema,
    },
  },
  example: { id: '{{data.inviter_id}}', properties: { invited: '{{recipient.id}}', trial: null } },
  conditional: true,
  templates: (step) => [...templateField(['id'], step.id, 'line'), ...propertyFields(step)],
  check: checkReserved,
  execute(step, context) {
    if (step.id === undefined) return update({ kind: 'recipient' }, step, context)
    return updateNamed('$users', step.id, step, context)
  },
}

/** Changes the tenant of the run, or another one. */
export const updateTenant: StepType<'update_tenant', UpdateTenant> = {
  type: 'update_tenant',
  summary: 'Changes the tenant of the run, or another one.',
  schema: {
    required: ['properties'],
    properties: {
      id: templateSchema("The id of a tenant; left out, the run's tenant."),
      properties: propertiesSchema,
    },
  },
  example: { id: '{{data.account_id}}', properties: { last_report: '{{timestamp}}' } },
  conditional: true,
  templates: (step) => [...templateField(['id'], step.id, 'line'), ...propertyFields(step)],
  check: checkReserved,
  execute(step, context) {
    if (step.id === undefined) return update({ kind: 'tenant' }, step, context)
    return updateNamed('$tenants', step.id, step, context)
  },
}

/** Changes an object. */
export const updateObject: StepType<'update_object', UpdateObject> = {
  type: 'update_object',
  summary: 'Changes an object.',
  schema: {
    required: ['collection', 'id', 'properties'],
    properties: {
      collection: templateSchema('The collection of the object.'),
      id: templateSchema('The id of the object.'),
      properties: propertiesSchema,
    },
  },
  example: {
    collection: 'pages',
    id: '{{data.page_id}}',
    properties: { counts: { comments: '{{data.count}}' } },
  },
  conditional: true,
  templates: (step) => [
    ...templateField(['collection'], step.collection, 'line'),
    ...templateField(['id'], step.id, 'line'),
    ...propertyFields(step),
  ],
  check: checkReserved,
  execute(step, context) {
    const collection = context.render(step.collection, 'line').trim()
    return updateNamed(collection, step.id, step, context)
  },
}

/** Changes the data of the run. */
export const updateData: StepType<'update_data', UpdateData> = {
  type: 'update_data',
  summary: 'Changes the data of the run.',
  schema: { required: ['properties'], properties: { properties: propertiesSchema } },
  example: { properties: { title: '{{data.page_name}}', draft: null } },
  conditional: true,
  templates: propertyFields,
  execute: (step, context) => update({ kind: 'data' }, step, context),
}

/** Secrets may not stand here: what is stored can be read. */
function propertyFields({ properties }: UpdateData): readonly TemplateField[] {
  return treeFields(['properties'], properties).map((field) => ({ ...field, secrets: false }))
}

function checkReserved({ properties }: UpdateData) {
  return Object.keys(properties)
    .filter((name) => RESERVED.has(name))
    .map((name) => ({
      path: ['properties', name],
      code: 'reserved_property',
      message: `"${name}" is no property that a step can change`,
    }))
}

function updateNamed(
  collection: string,
  id: TemplateText,
  step: UpdateData,
  context: StepContext,
): Outcome {
  const named = context.render(id, 'line').trim()
  if (named === '' || collection === '') return { kind: 'skip', reason: 'target_missing' }
  return update({ kind: 'entity', collection, id: named }, step, context)
}

function update(target: UpdateTarget, step: UpdateData, context: StepContext): Outcome {
  const properties = context.renderTree(step.properties) as Readonly<Record<string, unknown>>
  return { kind: 'update', target, properties }
}
