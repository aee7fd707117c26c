import { createHash } from 'node:crypto'
import { assert } from '../errors.ts'
import { lookUp } from '../language/paths.ts'
import { pathSchema } from './fields.ts'
import { keyText } from './key.ts'
import type { StepBase, StepType } from './step.ts'

export interface Cohort {
  /** Path to what is divided; the recipient where it is left out. */
  readonly key?: string
  readonly cohorts: readonly {
    readonly name: string
    /** With at most one decimal; all of them sum to 100. */
    readonly percentage: number
    readonly steps: readonly StepBase[]
    /** The run ends behind the steps of this cohort. */
    readonly terminates?: boolean
  }[]
}

/** How many cohorts one step may have. */
const COHORTS_MAX = 10
/** Tenths of a percent: as fine as a percentage may be. */
export const BUCKETS = 1_000
const DEFAULT_KEY = 'recipient.id'

/** Divides recipients by chance, each time in the same way. */
export const cohort: StepType<'cohort', Cohort> = {
  type: 'cohort',
  summary: 'Divides recipients by chance, each time in the same way.',
  schema: {
    required: ['cohorts'],
    properties: {
      key: pathSchema('A path to what is divided; `recipient.id` when left out.'),
      cohorts: {
        description: 'The parts and their percentages, which sum to 100.',
        type: 'array',
        minItems: 1,
        maxItems: COHORTS_MAX,
        items: {
          type: 'object',
          required: ['name', 'percentage', 'steps'],
          properties: {
            name: {
              description: 'What the timeline calls it.',
              type: 'string',
              minLength: 1,
              maxLength: 255,
            },
            percentage: {
              description: 'Its share, with at most one decimal.',
              type: 'number',
              minimum: 0,
              maximum: 100,
            },
            steps: { $ref: '#/$defs/steps' },
            terminates: { description: 'The run ends behind these steps.', type: 'boolean' },
          },
          additionalProperties: false,
        },
      },
    },
  },
  example: {
    key: 'data.account_id',
    cohorts: [
      { name: 'Short text', percentage: 12.5, steps: [], terminates: true },
      { name: 'Everybody else', percentage: 87.5, steps: [] },
    ],
  },
  conditional: false,

  templates() {
    return []
  },

  paths(step) {
    return step.key === undefined ? [] : [{ path: ['key'], value: step.key }]
  },

  children(step) {
    return step.cohorts.map(({ name, steps, terminates }, index) => ({
      name,
      steps,
      path: ['cohorts', index, 'steps'],
      ...(terminates !== undefined && { terminates }),
    }))
  },

  check(step) {
    const fine = step.cohorts.flatMap(({ percentage }, index) => {
      if (isWhole(percentage * 10)) return []
      const message = 'a percentage has at most one decimal'
      return [{ path: ['cohorts', index, 'percentage'], code: 'invalid_value', message }]
    })
    const sum = step.cohorts.reduce((total, one) => total + Math.round(one.percentage * 10), 0)
    if (fine.length > 0 || sum === BUCKETS) return fine
    const message = `the percentages sum to ${sum / 10}, not to 100`
    return [{ path: ['cohorts'], code: 'percentage_sum', message }]
  },

  execute(step, { scope }) {
    const key = keyText(lookUp(scope, step.key ?? DEFAULT_KEY)) ?? null
    const bucket = bucketOf(String(scope.workflow['key']), step.ref, key)
    const index = cohortAt(step, bucket)
    const data = { cohort: step.cohorts[index]?.name, index, bucket, key }
    return {
      kind: 'enter',
      child: index,
      events: [{ event: 'cohort_chosen', status: 'ok', data }],
    }
  },
}

/**
 * The bucket of a key, from 0 to 999: the first six bytes of the SHA-256 of the JSON list
 * `[workflow, step ref, key]`, modulo 1000. Nothing else goes into it, so that it is the same in each
 * environment and each version; `null` stands for a missing key.
 */
export function bucketOf(workflow: string, ref: string, key: string | null): number {
  const hash = createHash('sha256')
    .update(JSON.stringify([workflow, ref, key]))
    .digest()
  return hash.readUIntBE(0, 6) % BUCKETS
}

/** The cohorts lie one behind the other on the buckets, in the order of the file. */
function cohortAt(step: Cohort, bucket: number): number {
  let end = 0
  const index = step.cohorts.findIndex(({ percentage }) => {
    end += Math.round(percentage * 10)
    return bucket < end
  })
  assert(index >= 0, `no cohort holds the bucket ${bucket}`)
  return index
}

/** Ten times a decimal number is seldom exact. */
function isWhole(value: number): boolean {
  return Math.abs(value - Math.round(value)) < 1e-6
}
