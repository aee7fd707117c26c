import vm from 'node:vm'
import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { messageOf, type Violation } from '../errors.ts'
import type { Pointer } from './parse.ts'
import { segmentsOf } from './explain.ts'

/** Why a schema is none, and where in it that shows. */
export interface DataSchemaProblem {
  readonly pointer: Pointer
  readonly message: string
}

/** Says what of `data` breaks the schema; nothing where all is well. */
export type CheckData = (data: unknown) => readonly Violation[]

/** Of a list with a thousand wrong items these say enough. */
const VIOLATIONS_MAX = 50

let shared: Ajv2020 | undefined

const DIALECT = 'https://json-schema.org/draft/2020-12/schema'

/** What only compiling finds: references to nothing, patterns that are none. */
const NEEDS_COMPILING = /"(?:\$(?!schema")\w+|pattern(?:Properties)?|format|nullable)":/

/** The first thing that is wrong with a JSON Schema 2020-12 of a workflow; undefined if nothing is. */
export function checkDataSchema(schema: object | boolean): DataSchemaProblem | undefined {
  const dialect = typeof schema === 'object' && '$schema' in schema ? schema.$schema : DIALECT
  if (dialect !== DIALECT) return { pointer: ['$schema'], message: `$schema must be "${DIALECT}"` }
  const ajv = instance()
  if (ajv.validateSchema(schema) !== true) {
    const error = ajv.errors?.[0]
    const pointer = segmentsOf(error?.instancePath ?? '')
    return { pointer, message: error === undefined ? 'is not valid' : messageFor(error) }
  }
  // Compiling takes longer than all else that is done for a workflow.
  if (!NEEDS_COMPILING.test(JSON.stringify(schema))) return undefined
  try {
    compile(schema)
    return undefined
  } catch (error) {
    return { pointer: [], message: messageOf(error) }
  }
}

/**
 * Compiles a JSON Schema that `checkDataSchema` has let pass. This takes milliseconds: keep what it
 * gives. Throws where the schema is none.
 */
export function compileDataSchema(schema: object | boolean): CheckData {
  const validate = compile(schema)
  const hasPattern = PATTERN.test(JSON.stringify(schema))
  return (data) => {
    const isFitting = hasPattern ? inTime(() => validate(data)) : validate(data)
    if (isFitting === undefined) return [{ field: '', message: TOO_LONG }]
    if (isFitting) return []
    return (validate.errors ?? []).slice(0, VIOLATIONS_MAX).map(violationOf)
  }
}

/** A pattern can take time that doubles with each character of the data. */
const PATTERN = /"pattern(?:Properties)?":/
const CHECK_MS_MAX = 200
const TOO_LONG = `could not be checked within ${CHECK_MS_MAX} ms: a pattern of the schema takes too long on it`

/** What `work` gives, or undefined where it does not end in time; this interrupts a pattern too. */
function inTime<T>(work: () => T): T | undefined {
  ground ??= vm.createContext({})
  ground['work'] = work
  script ??= new vm.Script('work()')
  try {
    return script.runInContext(ground, { timeout: CHECK_MS_MAX }) as T
  } catch (error) {
    // It is an error of the other context, and no instance of ours.
    const { code } = error as { readonly code?: unknown }
    if (code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') return undefined
    throw error
  } finally {
    delete ground['work']
  }
}

let ground: vm.Context | undefined
let script: vm.Script | undefined

function violationOf(error: ErrorObject): Violation {
  const { instancePath, keyword, params } = error
  if (keyword !== 'required') return { field: instancePath, message: messageFor(error) }
  return {
    field: instancePath + pointerStep(String(params['missingProperty'])),
    message: 'is missing',
  }
}

function pointerStep(name: string): string {
  return `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`
}

function compile(schema: object | boolean): ValidateFunction {
  const ajv = instance()
  try {
    const validate = ajv.compile(schema)
    // It would answer with a promise, which holds for everything and ends the process where it does not.
    if ('$async' in validate) throw new Error('"$async" is not of JSON Schema')
    return validate
  } finally {
    // The instance would keep every schema it has seen, and refuse an `$id` it knows.
    if (typeof schema === 'object') ajv.removeSchema(schema)
  }
}

/** One instance for all: each would compile the meta-schema anew. */
function instance(): Ajv2020 {
  if (shared !== undefined) return shared
  // Keywords that a schema makes up are annotations, as JSON Schema says.
  shared = new Ajv2020({ allErrors: true, strict: false, logger: false })
  addFormats.default(shared)
  return shared
}

function messageFor({ message, params, keyword }: ErrorObject): string {
  const text = message ?? 'is not valid'
  if (keyword === 'additionalProperties') return `${text}: "${params['additionalProperty']}"`
  if (keyword === 'enum') {
    return `must be one of ${(params['allowedValues'] as readonly unknown[]).map(String).join(', ')}`
  }
  return text
}
