import { assert } from '../errors.ts'
import { argumentOf, type Argument } from './condition-argument.ts'
import { conditionProblems } from './condition-problems.ts'
import { operatorNames, operatorType, type Operator } from './operators.ts'
import { statusHolds, statusWord } from './message-status.ts'
import { clipped } from './values.ts'

/** One comparison: `variable` is a path, `argument` a value or a path. */
export interface Condition {
  readonly variable: string
  readonly operator: Operator
  readonly argument?: unknown
}

/** All must hold. */
export interface AllConditions {
  readonly all: readonly Condition[]
}

/** One must hold, or all of one group. */
export interface AnyConditions {
  readonly any: readonly (Condition | AllConditions)[]
}

export type Conditions = AllConditions | AnyConditions

/** What one condition came to, for the timeline. Long values are cut at `RESOLVED_CHARS_MAX`. */
export interface ConditionResult {
  readonly variable: string
  readonly operator: Operator
  readonly argument: unknown
  /** Null where the condition was not evaluated; "" where the path names nothing. */
  readonly resolved_variable: unknown
  readonly resolved_argument: unknown
  readonly result: boolean | 'not_evaluated'
}

/** Where a scope holds the keys of the audiences that its recipient is in. No variable and no template names it. */
export const AUDIENCES = '$audiences'

/** How long the JSON of an argument or a resolved value may be in a result. */
export const RESOLVED_CHARS_MAX = 256

/** How many conditions a group may have, and items a list as argument. */
export const CONDITIONS_MAX = 100
const ARGUMENT_ITEMS_MAX = 1000
const TEXT_CHARS_MAX = 1000

const argumentSchema = {
  description: 'A value, or a path such as `recipient.plan`. A text that is JSON is its value.',
  type: ['string', 'number', 'boolean', 'null', 'array'],
  maxLength: TEXT_CHARS_MAX,
  maxItems: ARGUMENT_ITEMS_MAX,
  items: { type: ['string', 'number', 'boolean', 'null'], maxLength: TEXT_CHARS_MAX },
} as const

const conditionProperties = {
  variable: {
    description: 'The path of what is compared, such as `data.silent`.',
    type: 'string',
    minLength: 1,
    maxLength: TEXT_CHARS_MAX,
  },
  operator: { description: 'How it is compared.', enum: operatorNames },
  argument: argumentSchema,
} as const

const allSchema = {
  description: 'All of these must hold.',
  type: 'array',
  minItems: 1,
  maxItems: CONDITIONS_MAX,
  items: {
    type: 'object',
    required: ['variable', 'operator'],
    properties: conditionProperties,
    additionalProperties: false,
  },
} as const

/** JSON Schema of conditions: `{ all: […] }` or `{ any: […] }`. */
export const conditionsSchema = {
  description: 'Conditions: `all` of them must hold, or `any` one.',
  type: 'object',
  minProperties: 1,
  maxProperties: 1,
  properties: {
    all: allSchema,
    any: {
      description: 'One of these must hold; an item may be a group `{ all: […] }`.',
      type: 'array',
      minItems: 1,
      maxItems: CONDITIONS_MAX,
      items: {
        type: 'object',
        properties: { ...conditionProperties, all: allSchema },
        additionalProperties: false,
        if: { type: 'object', required: ['all'] },
        // oxlint-disable-next-line unicorn/no-thenable -- a keyword of JSON Schema, not a promise
        then: { type: 'object', maxProperties: 1 },
        else: { type: 'object', required: ['variable', 'operator'] },
      },
    },
  },
  additionalProperties: false,
} as const

/**
 * Whether conditions hold, and what each of them came to. `lookup` answers a dotted path, with
 * undefined where it names nothing; what is not needed for the answer is not looked up.
 */
export function evaluate(
  conditions: Conditions,
  lookup: (path: string) => unknown,
  { now }: { readonly now: Date },
): { readonly holds: boolean; readonly results: readonly ConditionResult[] } {
  const evaluation: Evaluation = { lookup, nowMs: now.getTime(), results: [] }
  const holds =
    'all' in conditions
      ? allHold(conditions.all, evaluation, false)
      : anyHolds(conditions.any, evaluation)
  return { holds, results: evaluation.results }
}

interface Evaluation {
  readonly lookup: (path: string) => unknown
  readonly nowMs: number
  readonly results: ConditionResult[]
}

function allHold(list: readonly Condition[], evaluation: Evaluation, isDecided: boolean): boolean {
  let holds = true
  for (const condition of list) {
    if (isDecided || !holds) evaluation.results.push(notEvaluated(condition))
    else holds = conditionHolds(condition, evaluation)
  }
  return holds
}

function anyHolds(list: readonly (Condition | AllConditions)[], evaluation: Evaluation): boolean {
  let holds = false
  for (const item of list) {
    if ('all' in item) {
      const groupHolds = allHold(item.all, evaluation, holds)
      holds ||= groupHolds
    } else if (holds) evaluation.results.push(notEvaluated(item))
    else holds = conditionHolds(item, evaluation)
  }
  return holds
}

function conditionHolds(condition: Condition, { lookup, nowMs, results }: Evaluation): boolean {
  const type = operatorType(condition.operator)
  assert(type !== undefined, `"${condition.operator}" is no operator of a condition`)
  const left = lookup(type.argument === 'audience' ? AUDIENCES : condition.variable)
  const argument = preparedArgument(condition)
  const right = argument.kind === 'value' ? argument.value : (lookup(argument.path) ?? '')
  const word = argument.kind === 'value' ? statusWord(right) : undefined
  const result =
    word === undefined
      ? type.holds(left, right, nowMs)
      : statusHolds(condition.operator, left, word)
  results.push({
    variable: condition.variable,
    operator: condition.operator,
    argument: clipped(condition.argument ?? null, RESOLVED_CHARS_MAX),
    resolved_variable: clipped(left === undefined ? '' : left, RESOLVED_CHARS_MAX),
    resolved_argument: clipped(right, RESOLVED_CHARS_MAX),
    result,
  })
  return result
}

function notEvaluated({ variable, operator, argument }: Condition): ConditionResult {
  return {
    variable,
    operator,
    argument: clipped(argument ?? null, RESOLVED_CHARS_MAX),
    resolved_variable: null,
    resolved_argument: null,
    result: 'not_evaluated',
  }
}

/** Arguments as read, by condition: the same file is evaluated once per recipient. */
const prepared = new WeakMap<Condition, Argument>()

function preparedArgument(condition: Condition): Argument {
  const known = prepared.get(condition)
  if (known !== undefined) return known
  const argument = argumentOf(condition.argument)
  prepared.set(condition, argument)
  return argument
}

/** A problem of conditions beyond their shape, with its place inside them. */
export interface ConditionProblem {
  readonly path: readonly (string | number)[]
  readonly code: string
  readonly message: string
  readonly hint?: string
}

/** What is wrong with conditions that have the shape of `conditionsSchema`. */
export function checkConditions(conditions: Conditions): readonly ConditionProblem[] {
  return listConditions(conditions).flatMap(({ condition, path }) =>
    conditionProblems(condition).map(({ field, ...problem }) => ({
      path: field in condition ? [...path, field] : path,
      ...problem,
    })),
  )
}

/** Every path that conditions read, on either side, and where in the conditions it stands. */
export function conditionVariables(
  conditions: Conditions,
): readonly { readonly variable: string; readonly path: readonly (string | number)[] }[] {
  return listConditions(conditions).flatMap(({ condition, path }) => {
    const argument = argumentOf(condition.argument)
    const left = { variable: condition.variable, path: [...path, 'variable'] }
    if (argument.kind === 'value') return [left]
    return [left, { variable: argument.path, path: [...path, 'argument'] }]
  })
}

/** Each condition with its place, in the order of the file. */
export function listConditions(
  conditions: Conditions,
): readonly { readonly condition: Condition; readonly path: readonly (string | number)[] }[] {
  if ('all' in conditions) return placed(conditions.all, ['all'])
  return conditions.any.flatMap((item, index) =>
    'all' in item
      ? placed(item.all, ['any', index, 'all'])
      : [{ condition: item, path: ['any', index] }],
  )
}

function placed(list: readonly Condition[], at: readonly (string | number)[]) {
  return list.map((condition, index) => ({ condition, path: [...at, index] }))
}
