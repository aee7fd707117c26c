import { evaluate, type Conditions } from '../language/conditions.ts'
import { lookupIn } from '../language/paths.ts'
import type { StepBase, StepType } from './step.ts'

export interface Branch {
  readonly branches: readonly {
    readonly name: string
    /** Only the last branch has none: it is taken where no other is. */
    readonly conditions?: Conditions
    readonly steps: readonly StepBase[]
    /** The run ends behind the steps of this branch. */
    readonly terminates?: boolean
  }[]
}

/** How many branches one step may have, the default one included. */
const BRANCHES_MAX = 10

/** Goes on with the steps of the first branch whose conditions hold. */
export const branch: StepType<'branch', Branch> = {
  type: 'branch',
  summary: 'Goes on with the steps of the first branch whose conditions hold.',
  schema: {
    required: ['branches'],
    properties: {
      branches: {
        description: 'Tried from first to last. The last one has no conditions.',
        type: 'array',
        minItems: 1,
        maxItems: BRANCHES_MAX,
        items: {
          type: 'object',
          required: ['name', 'steps'],
          properties: {
            name: {
              description: 'What the timeline calls it.',
              type: 'string',
              minLength: 1,
              maxLength: 255,
            },
            conditions: { $ref: '#/$defs/conditions' },
            steps: { $ref: '#/$defs/steps' },
            terminates: { description: 'The run ends behind these steps.', type: 'boolean' },
          },
          additionalProperties: false,
        },
      },
    },
  },
  example: {
    branches: [
      {
        name: 'Paying',
        conditions: { all: [{ variable: 'tenant.plan', operator: 'equal_to', argument: 'paid' }] },
        steps: [],
      },
      { name: 'Everybody else', steps: [], terminates: true },
    ],
  },
  conditional: false,

  templates() {
    return []
  },

  children(step) {
    return step.branches.map(({ name, steps, conditions, terminates }, index) => ({
      name,
      steps,
      path: ['branches', index, 'steps'],
      ...(conditions !== undefined && { conditions }),
      ...(terminates !== undefined && { terminates }),
    }))
  },

  check(step) {
    const last = step.branches.length - 1
    return step.branches.flatMap(({ conditions }, index) => {
      if (index === last && conditions !== undefined) {
        const message = 'the last branch is the default and has no conditions'
        const path = ['branches', index, 'conditions']
        return [
          {
            path,
            code: 'default_branch',
            message,
            hint: 'Add a branch without conditions behind it.',
          },
        ]
      }
      if (index === last || conditions !== undefined) return []
      const message =
        'only the last branch has no conditions: those behind this one are never taken'
      return [{ path: ['branches', index], code: 'default_branch', message }]
    })
  },

  execute(step, { scope, now }) {
    const tried: object[] = []
    for (const [index, { name, conditions }] of step.branches.entries()) {
      const decision = conditions && evaluate(conditions, lookupIn(scope), { now })
      if (decision !== undefined) tried.push({ branch: name, ...decision })
      if (decision === undefined || decision.holds) {
        const data = { branch: name, index, conditions: tried }
        return {
          kind: 'enter',
          child: index,
          events: [{ event: 'branch_chosen', status: 'ok', data }],
        }
      }
    }
    return { kind: 'skip', reason: 'no_branch' }
  },
}
