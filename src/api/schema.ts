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

/** What is told of a property itself, and not of what holds it. */
const OF_A_PROPERTY: Readonly<Record<string, string>> = {
  required: 'is missing',
  additionalProperties: 'is not known here',
}

function violationIn(root: string): (error: ErrorObject) => Violation {
  return ({ instancePath, keyword, message, params }) => {
    const allowed =
      keyword === 'enum' ? `: ${(params['allowedValues'] as unknown[]).join(', ')}` : ''
    const name: unknown = params['missingProperty'] ?? params['additionalProperty']
    const what = OF_A_PROPERTY[keyword] ?? `${message ?? keyword}${allowed}`
    const field = `${root}${instancePath}${typeof name === 'string' ? pointerStep(name) : ''}`
    return { field, message: what }
  }
}
