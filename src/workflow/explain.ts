import type { ErrorObject } from 'ajv'
import { didYouMean, suggest } from '../language/text.ts'
import { errorAt, sortDiagnostics, type Diagnostic, type Problem } from './diagnostic.ts'
import type { ParsedFile, Pointer } from './parse.ts'

/** How many violations of the schema are listed for one file. */
const VIOLATIONS_MAX = 50
/** How many keys a hint lists. */
const KEYS_IN_HINT_MAX = 16

interface Explained extends Problem {
  readonly pointer: Pointer
  /** Whether the key is meant rather than its value. */
  readonly isKey: boolean
}

/**
 * The violations of a schema as diagnostics of `file`, without those that follow from others, and
 * without those that stand where a `known` problem made the value what it is.
 */
export function explainViolations(
  file: ParsedFile,
  errors: readonly ErrorObject[],
  known: readonly Diagnostic[] = [],
): readonly Diagnostic[] {
  if (errors.length === 0) return known
  const diagnostics = withoutEchoes(errors)
    .map((error) => explain(error))
    .map(({ pointer, isKey, ...problem }) => {
      const at = isKey ? file.locateKey(pointer) : file.locate(pointer)
      return errorAt(file.path, at, problem)
    })
  const more = diagnostics.filter(
    ({ line, column }) => !known.some((one) => one.line === line && one.column === column),
  )
  return [...known, ...sortDiagnostics(more).slice(0, VIOLATIONS_MAX)]
}

/** The keys and indexes of a JSON Pointer. */
export function segmentsOf(pointer: string): readonly string[] {
  const parts = pointer.split('/').slice(1)
  return parts.map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
}

/**
 * One mistake can break several rules: a choice and each of its alternatives, a misspelt key that
 * is unknown and leaves the right one missing, a `type` that is missing for two keywords.
 */
function withoutEchoes(errors: readonly ErrorObject[]): readonly ErrorObject[] {
  const choices = errors.filter(isChoice)
  const misspelt = new Set(errors.flatMap(suggestedKey))
  const outer = errors.filter((error) => !choices.some((choice) => isInside(error, choice)))
  const broken = new Set(
    outer
      .filter(({ keyword }) => keyword === 'additionalProperties' || keyword === 'type')
      .map(({ instancePath }) => instancePath),
  )
  const kept = errors.filter((error) => {
    const { instancePath, schemaPath } = error
    if (isEcho(error, misspelt)) return false
    if (isChoice(error) && (broken.has(instancePath) || meant(error) !== undefined)) return false
    return !choices.some(
      (choice) =>
        isInside(error, choice) && !schemaPath.startsWith(`${choice.schemaPath}/${meant(choice)}/`),
    )
  })
  // A file that is refused has a reason, whatever was dropped above.
  return kept.length > 0 ? kept : errors.slice(0, 1)
}

function isEcho(
  { keyword, instancePath, params, propertyName }: ErrorObject,
  misspelt: ReadonlySet<string>,
): boolean {
  // What stands behind these is said by `propertyNames`, by a branch, and by `required`.
  if (propertyName !== undefined || keyword === 'if') return true
  if (keyword === 'discriminator') return params['error'] === 'tag'
  return keyword === 'required' && misspelt.has(`${instancePath}/${params['missingProperty']}`)
}

function isChoice({ keyword }: ErrorObject): boolean {
  return keyword === 'oneOf' || keyword === 'anyOf'
}

/** Whether an error comes from one of the alternatives of a choice. */
function isInside({ schemaPath, instancePath }: ErrorObject, choice: ErrorObject): boolean {
  return (
    schemaPath.startsWith(`${choice.schemaPath}/`) && instancePath.startsWith(choice.instancePath)
  )
}

/** The one alternative of a choice that takes values of this type: its complaints are the right ones. */
function meant({ schema, data }: ErrorObject): number | undefined {
  const types = (schema as readonly { readonly type?: unknown }[]).map(({ type }) => type)
  const fitting = types.flatMap((type, index) => (type === jsonType(data) ? [index] : []))
  return fitting.length === 1 ? fitting[0] : undefined
}

function jsonType(value: unknown): string {
  if (value === null) return 'null'
  return Array.isArray(value) ? 'array' : typeof value
}

/** The pointer of the key that an unknown key most likely stands for. */
function suggestedKey({ keyword, params, instancePath, parentSchema }: ErrorObject) {
  if (keyword !== 'additionalProperties') return []
  const found = suggest(String(params['additionalProperty']), keysOf(parentSchema))
  return found === undefined ? [] : [`${instancePath}/${found}`]
}

function explain(error: ErrorObject): Explained {
  const pointer = segmentsOf(error.instancePath)
  const special = SPECIAL[error.keyword]
  if (special !== undefined) return special(error, pointer)
  if (error.keyword === 'pattern' && pointer.at(-1) === 'secret') return notASecret(pointer)
  return { pointer, isKey: false, code: 'invalid_value', message: valueMessage(error) }
}

/** Does not say what stands there: it may well be the secret itself. */
function notASecret(pointer: Pointer): Explained {
  return {
    pointer,
    isKey: false,
    code: 'invalid_value',
    message: 'this cannot be the name of a secret',
    hint: 'Use A-Z, 0-9 and "_", starting with a letter; the secret itself does not belong here.',
  }
}

type Explain = (error: ErrorObject, pointer: readonly string[]) => Explained

const SPECIAL: Readonly<Record<string, Explain>> = {
  additionalProperties: ({ params, parentSchema }, pointer) => {
    const key = String(params['additionalProperty'])
    return {
      pointer: [...pointer, key],
      isKey: true,
      code: 'unknown_key',
      message: `unknown key "${key}"`,
      hint: keyHint(key, keysOf(parentSchema)),
    }
  },
  required: ({ params }, pointer) => ({
    pointer,
    isKey: true,
    code: 'missing_key',
    message: `"${params['missingProperty']}" is missing`,
  }),
  type: ({ params, data }, pointer) => ({
    pointer,
    isKey: false,
    code: 'wrong_type',
    message: `this must be ${wantedTypes(params['type'])}, not ${typeName(data)}`,
  }),
  enum: ({ params, data }, pointer) => {
    const allowed = (params['allowedValues'] as readonly unknown[]).map(String)
    return {
      pointer,
      isKey: false,
      code: 'invalid_value',
      message: `${quoted(data)} is not one of ${allowed.join(', ')}`,
      hint: didYouMean(String(data), allowed).hint,
    }
  },
  const: ({ params, data }, pointer) => ({
    pointer,
    isKey: false,
    code: 'invalid_value',
    message: `this must be ${quoted(params['allowedValue'])}, not ${quoted(data)}`,
  }),
  discriminator: ({ params, parentSchema }, pointer) => {
    const tag = String(params['tag'])
    const value = params['tagValue']
    const allowed = alternativesOf(parentSchema)
    return {
      pointer: [...pointer, tag],
      isKey: false,
      code: `unknown_${tag}`,
      message: `unknown ${tag} ${quoted(value)}`,
      hint: didYouMean(String(value), allowed).hint ?? `Known here: ${allowed.join(', ')}.`,
    }
  },
  propertyNames: ({ params, schema }, pointer) => ({
    pointer: [...pointer, String(params['propertyName'])],
    isKey: true,
    code: 'invalid_key',
    message: `"${params['propertyName']}" cannot be a key here${wish(schema)}`,
  }),
}

function valueMessage({ keyword, params, data, parentSchema, message }: ErrorObject): string {
  const limited = LIMITS[keyword]
  if (limited !== undefined) return limited(Number(params['limit']))
  if (keyword === 'pattern') return `${quoted(data)} is not valid here${wish(parentSchema)}`
  if (keyword === 'oneOf' || keyword === 'anyOf') {
    return `this is not what is wanted here${wish(parentSchema) || alternatives(parentSchema)}`
  }
  return `this ${message ?? 'is not valid'}`
}

const LIMITS: Readonly<Record<string, (limit: number) => string>> = {
  minItems: (limit) => `the list needs at least ${limit} ${limit === 1 ? 'item' : 'items'}`,
  maxItems: (limit) => `the list may have at most ${limit} items`,
  maxProperties: (limit) => `the map may have at most ${limit} ${limit === 1 ? 'key' : 'keys'}`,
  minLength: (limit) =>
    limit === 1 ? 'this must not be empty' : `this needs at least ${limit} characters`,
  maxLength: (limit) => `this may have at most ${limit} characters`,
  minimum: (limit) => `this must be ${limit} or more`,
  maximum: (limit) => `this must be ${limit} or less`,
}

/** The types that a choice takes, where each of its alternatives has one. */
function alternatives(schema: unknown): string {
  const { anyOf = [] } = schema as { readonly anyOf?: readonly { readonly type?: string }[] }
  const types = anyOf.flatMap(({ type }) => (typeof type === 'string' ? [type] : []))
  return types.length === 0 ? '' : `: ${wantedTypes(types)}`
}

/** What the schema's description says of the values that it takes. */
function wish(schema: unknown): string {
  const description = (schema as { readonly description?: unknown } | undefined)?.description
  return typeof description === 'string' ? `: ${description.replace(/\.$/, '')}` : ''
}

function keyHint(key: string, known: readonly string[]): string | undefined {
  const guess = didYouMean(key, known).hint
  if (guess !== undefined || known.length === 0) return guess
  const more = known.length > KEYS_IN_HINT_MAX ? ' …' : ''
  return `Known here: ${known.slice(0, KEYS_IN_HINT_MAX).join(', ')}${more}.`
}

function keysOf(schema: unknown): readonly string[] {
  return Object.keys((schema as { readonly properties?: object } | undefined)?.properties ?? {})
}

/** The names at the end of the references that a discriminator chooses from. */
function alternativesOf(schema: unknown): readonly string[] {
  const { oneOf = [] } = schema as { readonly oneOf?: readonly { readonly $ref?: string }[] }
  return oneOf.flatMap(({ $ref }) => $ref?.split('.').at(-1) ?? [])
}

const TYPE_NAMES: Readonly<Record<string, string>> = {
  string: 'a text',
  object: 'a map',
  array: 'a list',
  number: 'a number',
  integer: 'a whole number',
  boolean: 'true or false',
  null: 'nothing',
}

function wantedTypes(type: unknown): string {
  const types = Array.isArray(type) ? type.map(String) : String(type).split(',')
  return types.map((one) => TYPE_NAMES[one] ?? one).join(' or ')
}

function typeName(value: unknown): string {
  if (value === null) return 'empty'
  if (Array.isArray(value)) return 'a list'
  return TYPE_NAMES[typeof value] ?? typeof value
}

function quoted(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing'
  return text.length > 80 ? `${text.slice(0, 77)}…` : text
}
