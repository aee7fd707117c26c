import { Ajv2020, type ErrorObject, type Options, type ValidateFunction } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { RequestError, type Violation } from '../errors.ts'

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
  return ajv
}

/** Compiles the check of a body. */
export function bodyCheck(schema: object): Check {
  return check(bodies.compile(schema), '')
}

/** Compiles the check of a query; it coerces texts in place to the types that the schema names. */
export function queryCheck(schema: object): Check {
  return check(queries.compile(schema), '?')
}

function check(validate: ValidateFunction, root: string): Check {
  return (value) => {
    if (validate(value)) return
    const violations = (validate.errors ?? []).slice(0, VIOLATIONS_MAX).map(violationIn(root))
    const first = violations[0]
    const message = first ? `${first.field || 'the body'} ${first.message}` : 'is not valid'
    throw new RequestError(422, 'invalid_params', message, violations)
  }
}

function violationIn(root: string): (error: ErrorObject) => Violation {
  return ({ instancePath, keyword, message, params }) => {
    const name = keyword === 'required' ? `/${String(params['missingProperty'])}` : ''
    const allowed =
      keyword === 'enum' ? `: ${(params['allowedValues'] as unknown[]).join(', ')}` : ''
    const what = keyword === 'required' ? 'is missing' : `${message ?? keyword}${allowed}`
    return { field: `${root}${instancePath}${name}`, message: what }
  }
}
