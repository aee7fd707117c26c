import { isJsonObject } from '../json.ts'
import { isDeepStrictEqual } from 'node:util'

/** One change of what a trigger may say in `data`. */
export interface SchemaChange {
  /** Where, as a path of properties; empty at the top. */
  readonly path: string
  readonly message: string
  /** Whether a call that was right before may be refused now. */
  readonly breaking: boolean
}

type Schema = Readonly<Record<string, unknown>>

const DEPTH_MAX = 20
/** Words that say nothing about what is valid. */
const NOTES: ReadonlySet<string> = new Set([
  '$comment',
  '$id',
  '$schema',
  'default',
  'deprecated',
  'description',
  'examples',
  'title',
])
const WALKED: ReadonlySet<string> = new Set([
  'additionalProperties',
  'enum',
  'items',
  'properties',
  'required',
  'type',
])

/**
 * Compares two JSON Schemas of a trigger's data. Where a change cannot be told to be harmless it
 * counts as breaking.
 */
export function diffSchemas(
  before: object | undefined,
  after: object | undefined,
): readonly SchemaChange[] {
  if (isDeepStrictEqual(before, after)) return []
  if (after === undefined) return [{ path: '', message: 'the schema is gone', breaking: false }]
  const added: readonly SchemaChange[] =
    before === undefined ? [{ path: '', message: 'there is a schema now', breaking: false }] : []
  return [...added, ...diffAt('', [before ?? {}, after].map(schemaOf) as [Schema, Schema], 0)]
}

function diffAt(
  path: string,
  both: readonly [Schema, Schema],
  depth: number,
): readonly SchemaChange[] {
  const [before, after] = both
  if (isDeepStrictEqual(before, after) || depth > DEPTH_MAX) return []
  return [
    ...diffType(path, both),
    ...diffRequired(path, both),
    ...diffProperties(path, both, depth),
    ...diffClosed(path, both),
    ...diffEnum(path, both),
    ...diffOthers(path, both),
    ...diffAt(`${path}[]`, [schemaOf(before['items']), schemaOf(after['items'])], depth + 1),
  ]
}

function diffType(
  path: string,
  [before, after]: readonly [Schema, Schema],
): readonly SchemaChange[] {
  const [old, next] = [typesOf(before), typesOf(after)]
  if (isDeepStrictEqual(old, next)) return []
  const isNarrower =
    next !== undefined && (old === undefined || old.some((type) => !accepts(next, type)))
  const message = `the type was ${kindsOf(old)} and is ${kindsOf(next)}`
  return [{ path, message, breaking: isNarrower }]
}

function kindsOf(types: readonly string[] | undefined): string {
  return types?.join(' or ') ?? 'anything'
}

function accepts(types: readonly string[], type: string): boolean {
  return types.includes(type) || (type === 'integer' && types.includes('number'))
}

function typesOf({ type }: Schema): readonly string[] | undefined {
  if (typeof type === 'string') return [type]
  return Array.isArray(type) ? type.map(String).toSorted() : undefined
}

function diffRequired(
  path: string,
  [before, after]: readonly [Schema, Schema],
): readonly SchemaChange[] {
  const [old, next] = [namesOf(before['required']), namesOf(after['required'])]
  return [
    ...next
      .filter((name) => !old.includes(name))
      .map((name) => ({ path: join(path, name), message: 'is required now', breaking: true })),
    ...old
      .filter((name) => !next.includes(name))
      .map((name) => ({ path: join(path, name), message: 'is optional now', breaking: false })),
  ]
}

function diffProperties(
  path: string,
  [before, after]: readonly [Schema, Schema],
  depth: number,
): readonly SchemaChange[] {
  const [old, next] = [schemaOf(before['properties']), schemaOf(after['properties'])]
  return [...new Set([...Object.keys(old), ...Object.keys(next)])].flatMap((name) => {
    const at = join(path, name)
    if (!Object.hasOwn(next, name)) {
      return [{ path: at, message: 'the property is gone', breaking: true }]
    }
    if (!Object.hasOwn(old, name)) {
      return [{ path: at, message: 'the property is new', breaking: false }]
    }
    return diffAt(at, [schemaOf(old[name]), schemaOf(next[name])], depth + 1)
  })
}

function diffClosed(
  path: string,
  [before, after]: readonly [Schema, Schema],
): readonly SchemaChange[] {
  const [old, next] = [
    before['additionalProperties'] ?? true,
    after['additionalProperties'] ?? true,
  ]
  if (isDeepStrictEqual(old, next)) return []
  if (next === true) return [{ path, message: 'other properties are allowed now', breaking: false }]
  const message =
    next === false ? 'other properties are refused now' : 'other properties are checked now'
  return [{ path, message, breaking: old !== false }]
}

function diffEnum(
  path: string,
  [before, after]: readonly [Schema, Schema],
): readonly SchemaChange[] {
  const [old, next] = [before['enum'], after['enum']]
  if (isDeepStrictEqual(old, next)) return []
  if (!Array.isArray(next)) return [{ path, message: 'any value is allowed now', breaking: false }]
  const isNarrower =
    !Array.isArray(old) || old.some((value) => !next.some((one) => isDeepStrictEqual(one, value)))
  const values = next.map((value) => JSON.stringify(value)).join(', ')
  return [{ path, message: `the value is one of ${values}`, breaking: isNarrower }]
}

/** What is not looked into, such as `pattern` or `oneOf`: only taking it away is surely harmless. */
function diffOthers(
  path: string,
  [before, after]: readonly [Schema, Schema],
): readonly SchemaChange[] {
  const words = new Set([...Object.keys(before), ...Object.keys(after)])
  return [...words]
    .filter((word) => !NOTES.has(word) && !WALKED.has(word))
    .filter((word) => !isDeepStrictEqual(before[word], after[word]))
    .map((word) => {
      const isGone = !Object.hasOwn(after, word)
      return { path, message: `"${word}" ${isGone ? 'is gone' : 'has changed'}`, breaking: !isGone }
    })
}

function schemaOf(value: unknown): Schema {
  return isJsonObject(value) ? value : {}
}

function namesOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.map(String) : []
}

function join(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`
}
