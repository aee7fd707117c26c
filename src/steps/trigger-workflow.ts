import { templateField, templateSchema, treeFields } from './fields.ts'
import type { StepType, TemplateField, TemplateText, TemplateTree } from './step.ts'

export interface TriggerWorkflow {
  /** Its key. */
  readonly workflow: TemplateText
  /** As in a trigger through the API; the run's recipient where it is left out. */
  readonly recipients?: TemplateTree
  readonly actor?: TemplateTree
  readonly tenant?: TemplateTree
  readonly data?: TemplateTree
  readonly cancellation_key?: TemplateText
}

const treeTypes = ['string', 'object', 'array', 'number', 'boolean', 'null'] as const

/** Fields that are read as the body of a trigger is. */
const trees = ['recipients', 'actor', 'tenant', 'data'] as const

/** Starts another workflow. */
export const triggerWorkflow: StepType<'trigger_workflow', TriggerWorkflow> = {
  type: 'trigger_workflow',
  summary: 'Starts another workflow of the environment.',
  schema: {
    required: ['workflow'],
    properties: {
      workflow: templateSchema('The key of the workflow.'),
      recipients: {
        description:
          "Whom it runs for, as in a trigger: ids, references or inline recipients, one or a list; the run's recipient when left out.",
        type: treeTypes,
      },
      actor: {
        description: "Who causes it, as in a trigger; the run's actor when left out.",
        type: treeTypes,
      },
      tenant: {
        description: "The tenant, as in a trigger; the run's tenant when left out.",
        type: treeTypes,
      },
      data: {
        description: "The data that it is triggered with; the run's data when left out.",
        type: ['string', 'object'],
      },
      cancellation_key: templateSchema(
        "The key that it can be cancelled by; the run's own key when left out.",
      ),
    },
  },
  example: {
    workflow: 'invoice-reminder',
    recipients: ['{{data.owner_id}}', { collection: 'teams', id: '{{data.team_id}}' }],
    actor: '{{recipient.id}}',
    tenant: '{{data.account_id}}',
    data: { invoice: '{{data.invoice}}', first: false },
    cancellation_key: 'invoice-{{data.invoice.id}}',
  },
  conditional: true,

  templates(step) {
    return [
      ...templateField(['workflow'], step.workflow, 'line'),
      ...trees.flatMap((name) => openFields(name, step[name])),
      ...templateField(['cancellation_key'], step.cancellation_key, 'line'),
    ]
  },

  execute(step, context) {
    const tree = (given: TemplateTree | undefined) =>
      given === undefined ? undefined : context.renderTree(given)
    const { cancellation_key: key } = step
    return {
      kind: 'trigger',
      workflow: context.render(step.workflow, 'line').trim(),
      recipients: tree(step.recipients),
      actor: tree(step.actor),
      tenant: tree(step.tenant),
      data: tree(step.data),
      cancellationKey: key === undefined ? undefined : context.render(key, 'line').trim(),
    }
  },
}

/** Secrets may not stand here: what is stored can be read. */
function openFields(name: string, tree: TemplateTree | undefined): readonly TemplateField[] {
  return treeFields([name], tree).map((field) => ({ ...field, secrets: false }))
}
