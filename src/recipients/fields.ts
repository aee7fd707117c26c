import { isJsonObject } from '../json.ts'
import { RequestError, type Violation } from '../errors.ts'
import { DEFAULT_SET } from '../language/preferences.ts'
import { parseTimestamp } from '../language/timestamps.ts'
import type { Properties } from './merge.ts'
import { readPreferences, withoutStrategies, type PreferencePatch } from './preference-input.ts'
import type { PreferenceWrite } from './preference-store.ts'
import { checkRecipientId, propertiesOf, TENANTS, USERS, type RecipientRef } from './recipient.ts'
import type { RecipientPatch } from './store.ts'
import { pointerStep } from './text.ts'

/** Properties of a user that the contract types; all others may be anything. */
const USER_TEXTS = ['name', 'email', 'avatar', 'phone_number', 'timezone', 'locale']

/** What a request says of a recipient, and what is wrong with it. */
export interface FieldsRead {
  readonly patch: RecipientPatch
  readonly problems: readonly Violation[]
}

/**
 * Reads the fields of a recipient, wherever they come from: a call of its own, or inline in a trigger.
 * `pointer` is the JSON Pointer to the recipient in the request.
 */
export function readFields(ref: RecipientRef, fields: Properties, pointer: string): FieldsRead {
  const problems = [...fieldProblems(ref.collection, fields, pointer)]
  const properties = propertiesOf(fields)
  const sets = readSets(fields['preferences'], `${pointer}/preferences`, problems)
  if (ref.collection === TENANTS)
    return { patch: { ...ref, ...readTenant(properties, sets, { pointer, problems }) }, problems }
  const preferences = sets.map(({ set, patch }): PreferenceWrite => ({
    set,
    settings: withoutStrategies(patch.settings),
    mode: patch.mode ?? 'merge',
  }))
  return {
    patch: { ...ref, properties, ...(preferences.length > 0 && { preferences }) },
    problems,
  }
}

/** As `readFields`, of a body that is a recipient. Throws a 422 `RequestError` with each problem. */
export function readBodyFields(ref: RecipientRef, fields: Properties): RecipientPatch {
  const { patch, problems } = readFields(ref, fields, '')
  refuse(problems)
  return patch
}

function refuse(problems: readonly Violation[]): void {
  const [first] = problems
  if (first)
    throw new RequestError(422, 'invalid_params', `${first.field} ${first.message}`, problems)
}

function fieldProblems(
  collection: string,
  fields: Properties,
  pointer: string,
): readonly Violation[] {
  const problems = new Map<string, string>()
  if (fields['channel_data'] != null && !isJsonObject(fields['channel_data']))
    problems.set('channel_data', 'must be an object or null')
  if (collection === USERS) {
    for (const name of USER_TEXTS)
      if (fields[name] != null && typeof fields[name] !== 'string')
        problems.set(name, 'must be a text or null')
    const { created_at: at } = fields
    if (at != null && parseTimestamp(at) === undefined)
      problems.set('created_at', 'must be an ISO 8601 time or null')
  }
  return [...problems].map(([name, message]) => ({ field: `${pointer}/${name}`, message }))
}

interface NamedSet {
  readonly set: string
  readonly pointer: string
  readonly patch: PreferencePatch
}

/** The sets that stand inline, by their ids. */
function readSets(value: unknown, pointer: string, problems: Violation[]): readonly NamedSet[] {
  if (value === null || value === undefined) return []
  if (!isJsonObject(value)) {
    problems.push({ field: pointer, message: 'is not an object of sets by their ids' })
    return []
  }
  return Object.entries(value).flatMap(([set, given]) => {
    const at = pointer + pointerStep(set)
    try {
      checkRecipientId(set, at)
    } catch (error) {
      if (!(error instanceof RequestError)) throw error
      problems.push(...(error.errors ?? []))
    }
    const patch = readSet(given, at, problems)
    return patch ? [{ set, pointer: at, patch }] : []
  })
}

function readSet(
  value: unknown,
  pointer: string,
  problems: Violation[],
): PreferencePatch | undefined {
  const read = readPreferences(value, pointer)
  if (read.kind === 'patch') return read.patch
  problems.push(...read.violations)
  return undefined
}

/**
 * A tenant's preferences are those that it sets for its recipients: `settings.preference_set`, or, where
 * they stand inline as for others, the set `default`.
 */
function readTenant(
  properties: Properties,
  sets: readonly NamedSet[],
  { pointer, problems }: { readonly pointer: string; readonly problems: Violation[] },
): Pick<RecipientPatch, 'properties' | 'replacesPreferences'> {
  const { settings } = properties
  const at = `${pointer}/settings/preference_set`
  const given = isJsonObject(settings) ? settings['preference_set'] : undefined
  const own = given === null || given === undefined ? undefined : readSet(given, at, problems)
  for (const { set, pointer: field } of sets)
    if (set !== DEFAULT_SET)
      problems.push({ field, message: `is not a set of a tenant, which has "${DEFAULT_SET}" only` })
  const patches = [...(own ? [own] : []), ...sets.map(({ patch }) => patch)]
  if (patches.length === 0) return { properties }
  // Only laid over each other here: null is to clear what is stored.
  const said = patches.reduce((all, patch) => overlay(all, patch.settings), {} as Properties)
  const all = { ...(isJsonObject(settings) ? settings : {}), preference_set: said }
  const replaces = patches.some(({ mode }) => mode === 'replace')
  return {
    properties: { ...properties, settings: all },
    ...(replaces && { replacesPreferences: true }),
  }
}

/** One patch over another, which keeps its nulls. */
function overlay(base: Properties, patch: Properties): Properties {
  const entries = Object.entries(patch).map(([key, value]) => {
    const under = base[key]
    return [
      key,
      isJsonObject(value) && isJsonObject(under) ? overlay(under, value) : value,
    ] as const
  })
  return { ...base, ...Object.fromEntries(entries) }
}

/** What a step lays over a tenant, with its preferences as they are stored. Throws a 422 `RequestError`. */
export function readTenantChange(properties: Properties): Properties {
  const problems: Violation[] = []
  const read = readTenant(properties, [], { pointer: '', problems })
  refuse(problems)
  return read.properties
}
