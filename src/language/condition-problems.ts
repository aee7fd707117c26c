import { unreachable } from '../errors.ts'
import { isKey } from '../ids.ts'
import { argumentOf, conditionPrefixes, isVariable } from './condition-argument.ts'
import {
  deliveryOperators,
  deliveryWords,
  engagementOperators,
  engagementWords,
  statusWord,
} from './message-status.ts'
import { operatorNames, operatorType, type ArgumentShape } from './operators.ts'
import { didYouMean } from './text.ts'
import { isFarEnough, parseRelative, parseTimestamp, RELATIVE_MINUTES_MIN } from './timestamps.ts'
import { compareValues } from './values.ts'

/** What is wrong in a condition, and in which of its fields. */
export interface FieldProblem {
  readonly field: 'variable' | 'operator' | 'argument'
  readonly code: string
  readonly message: string
  readonly hint?: string
}

interface ConditionFields {
  readonly variable: string
  readonly operator: string
  readonly argument?: unknown
}

/** What a schema cannot say of one condition. */
export function conditionProblems(condition: ConditionFields): readonly FieldProblem[] {
  const type = operatorType(condition.operator)
  const variable =
    type?.argument === 'audience'
      ? audienceProblem(condition.variable)
      : variableProblem(condition.variable)
  if (variable !== undefined) return [variable]
  if (type === undefined) {
    const message = `"${condition.operator}" is no operator`
    const hint = didYouMean(condition.operator, operatorNames)
    return [{ field: 'operator', code: 'unknown_operator', message, ...hint }]
  }
  const problem =
    type.argument === 'none'
      ? unexpectedArgument(condition)
      : (statusProblem(condition) ?? argumentProblem(condition, type.argument))
  return problem === undefined ? [] : [problem]
}

function variableProblem(variable: string): FieldProblem | undefined {
  if (isVariable(variable)) return undefined
  const [prefix = ''] = variable.split('.')
  if (conditionPrefixes.some((known) => known === prefix)) {
    const message = `"${variable}" is no path: after "${prefix}" comes a "." and a name`
    return { field: 'variable', code: 'invalid_path', message }
  }
  const message = `a variable starts with ${conditionPrefixes.join(', ')}; not with "${prefix}"`
  return {
    field: 'variable',
    code: 'unknown_prefix',
    message,
    ...didYouMean(prefix, conditionPrefixes),
  }
}

/** Only recipients are in audiences. */
function audienceProblem(variable: string): FieldProblem | undefined {
  if (variable === 'recipient') return undefined
  const message = `the variable of an audience is "recipient", not "${variable}"`
  return { field: 'variable', code: 'invalid_path', message }
}

function unexpectedArgument({ operator, argument }: ConditionFields): FieldProblem | undefined {
  if (argument === undefined || argument === null || argument === '') return undefined
  const message = `"${operator}" takes no argument`
  return { field: 'argument', code: 'unexpected_argument', message }
}

function argumentProblem(
  { operator, argument }: ConditionFields,
  shape: ArgumentShape,
): FieldProblem | undefined {
  if (argument === undefined) {
    const message = `"${operator}" needs an argument`
    return { field: 'argument', code: 'missing_argument', message }
  }
  const read = argumentOf(argument)
  if (read.kind === 'path') return undefined
  const wanted = mismatch(read.value, shape)
  if (wanted === undefined) return undefined
  const message = `"${operator}" needs ${wanted}`
  return { field: 'argument', code: 'invalid_argument', message }
}

/** What an argument should have been; undefined where it is as it should be. */
function mismatch(value: unknown, shape: ArgumentShape): string | undefined {
  switch (shape) {
    case 'none':
    case 'any':
      return undefined
    case 'ordered':
      return orderedMismatch(value)
    case 'pair':
      return isRising(value, compareValues)
        ? undefined
        : 'a list `[from, to]` as argument, the smaller one first'
    case 'audience':
      return audienceMismatch(value)
    case 'timestamp':
      return timestampMismatch(value)
    case 'timestamp_pair':
      return isRising(value, compareMoments)
        ? undefined
        : 'a list `[from, to]` of two ISO 8601 dates or times as argument, the earlier one first'
    default:
      return unreachable(shape)
  }
}

function audienceMismatch(value: unknown): string | undefined {
  return typeof value === 'string' && isKey(value) ? undefined : 'the key of an audience'
}

function orderedMismatch(value: unknown): string | undefined {
  const isOrdered = typeof value === 'number' || typeof value === 'string'
  return isOrdered ? undefined : 'a number or a text as argument'
}

function timestampMismatch(value: unknown): string | undefined {
  if (parseTimestamp(value) !== undefined) return undefined
  const relative = typeof value === 'string' ? parseRelative(value) : undefined
  if (relative === undefined) {
    return 'an ISO 8601 date or time, or one such as `2 days ago` or `15 minutes from now`'
  }
  if (isFarEnough(relative)) return undefined
  return `a relative time of at least ${RELATIVE_MINUTES_MIN} minutes`
}

function isRising(
  value: unknown,
  compare: (left: unknown, right: unknown) => number | undefined,
): boolean {
  if (!Array.isArray(value) || value.length !== 2) return false
  const order = compare(value[0], value[1])
  return order !== undefined && order <= 0
}

function compareMoments(left: unknown, right: unknown): number | undefined {
  const [leftMs, rightMs] = [parseTimestamp(left), parseTimestamp(right)]
  return leftMs === undefined || rightMs === undefined ? undefined : leftMs - rightMs
}

const STATUS_VARIABLE = /^refs\.[^.]+\.(delivery|engagement)_status$/

/** Conditions on the messages of an earlier step have words and operators of their own. */
function statusProblem({
  variable,
  operator,
  argument,
}: ConditionFields): FieldProblem | undefined {
  const word = statusWord(argument)
  const status = STATUS_VARIABLE.exec(variable)?.[1]
  if (status === undefined) {
    if (word === undefined) return undefined
    const message = `"$message.${word}" is compared with the status of a step's message`
    const hint = 'use `refs.<ref>.delivery_status` or `refs.<ref>.engagement_status` as variable'
    return { field: 'argument', code: 'invalid_argument', message, hint }
  }
  const isDelivery = status === 'delivery'
  const words = isDelivery ? deliveryWords : engagementWords
  const allowed = isDelivery ? deliveryOperators : engagementOperators
  if (!allowed.includes(operator)) {
    const message = `"${status}_status" is compared with ${allowed.join(', ')}; not with "${operator}"`
    return { field: 'operator', code: 'invalid_operator', message }
  }
  if (word === undefined) {
    const message = `"${status}_status" is compared with a word such as "$message.${words.at(-1)}"`
    const plain = typeof argument === 'string' && words.includes(argument)
    const hint = plain ? { hint: `write "$message.${argument}"` } : {}
    return { field: 'argument', code: 'invalid_argument', message, ...hint }
  }
  if (words.includes(word)) return undefined
  const message = `"$message.${word}" is no ${status} status`
  return { field: 'argument', code: 'unknown_status', message, ...didYouMean(word, words) }
}
