import { Ajv2020, type ErrorObject, type Options, type ValidateFunction } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { RequestError, type Violation } from '../errors.ts'
import { parseTimestamp } from '../language/timestamps.ts'
import { pointerStep } from '../recipients/text.ts'

/** Of entries in the list of violations; a body with a thousand wrong recipients says enough with these. */
const VIOLATIONS_MAX = 50

/** Checks a value, and throws a 422 `invalid_params` that lists what is wrong with it. */
export type Check = (value: unknown) => void

// One for all: each compiles the metaschema anew, which takes longer than most schemas. It keeps what it has compiled.
const bodies = withFormats({})
const queries = withFormats({ coerceTypes: 'array' })

function withFormats(options: Options): Ajv2020 {
  const ajv = new Ajv2020({ allErrors: true, allowUnionTypes: true, ...options })
  addFormats.default(ajv)
  ajv.addFormat('timestamp', (text: string) => parseTimestamp(text) !== undefined)
  return ajv
}

/** The check of a body. */
export function bodyCheck(schema: object): Check {
  return check(() => bodies.compile(schema), '')
}

/** The check of a query; it coerces texts in place to the types that the schema names. */
export function queryCheck(schema: object): Check {
  return check(() => queries.compile(schema), '?')
}

/** Compiles when it is first needed: a process that starts has better things to do than to compile all of them. */
function check(compile: () => ValidateFunction, root: string): Check {
  let validate: ValidateFunction | undefined
  return (value) => {
    validate ??= compile()
    if (validate(value)) return
    const violations = (validate.errors ?? []).slice(0, VIOLATIONS_MAX).map(violationIn(root))
    const first = violations[0]
    const message = first ? `${first.field || 'the body'} ${first.message}` : 'is not valid'
    throw new RequestError(422, 'invalid_params', message, violations)
  }
}

function violationIn(root: string): (error: ErrorObject) => Violation {
  return ({ instancePath, keyword, message = keyword, params }) => {
    // What is missing, or beside all that is known, is told of itself and not of what holds it.
    const name: unknown = params['missingProperty'] ?? params['additionalProperty']
    const field = `${root}${instancePath}${typeof name === 'string' ? pointerStep(name) : ''}`
    return { field, message: WORDS[keyword]?.(params) ?? message }
  }
}

type Params = Readonly<Record<string, unknown>>

/** What is wrong, after the name of the field. */
const WORDS: Readonly<Record<string, (params: Params) => string>> = {
  required: () => 'is missing',
  additionalProperties: () => 'is not known here',
  type: ({ type }) => `is not ${String(type).split(',').map(typeName).join(' or ')}`,
  enum: ({ allowedValues }) =>
    `is none of ${(allowedValues as readonly unknown[]).map(String).join(', ')}`,
  format: ({ format }) => `is not ${FORMATS[String(format)] ?? String(format)}`,
  minItems: ({ limit }) => (limit === 1 ? 'is empty' : `has fewer than ${String(limit)} entries`),
  maxItems: ({ limit }) => `has more than ${String(limit)} entries`,
  minLength: ({ limit }) =>
    limit === 1 ? 'is empty' : `is shorter than ${String(limit)} characters`,
  maxLength: ({ limit }) => `is longer than ${String(limit)} characters`,
}

const TYPES: Readonly<Record<string, string>> = {
  string: 'a text',
  object: 'an object',
  array: 'a list',
  boolean: 'true or false',
  integer: 'a whole number',
  number: 'a number',
}

function typeName(type: string): string {
  return TYPES[type] ?? type
}

const FORMATS: Readonly<Record<string, string>> = {
  'date-time': 'a time of ISO 8601 with its zone',
  timestamp: 'a time of ISO 8601',
  uuid: 'a UUID',
}
