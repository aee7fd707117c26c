import { isJsonObject } from '../json.ts'
import { Ajv2020, type ErrorObject } from 'ajv/dist/2020.js'
import type { Violation } from '../errors.ts'
import {
  checkPreferences,
  preferenceSchemas,
  withChannelIds,
} from '../language/preference-schema.ts'
import { type PreferenceSet } from '../language/preferences.ts'
import type { Properties } from './merge.ts'
import { pointerStep } from './text.ts'

/** A set as a request says it: null clears a setting where it is merged. */
export interface PreferencePatch {
  readonly settings: Properties
  /** What the request says of it; what holds where it says nothing depends on the call. */
  readonly mode: 'merge' | 'replace' | undefined
}

export type PreferenceInput =
  | { readonly kind: 'patch'; readonly patch: PreferencePatch }
  | { readonly kind: 'invalid'; readonly violations: readonly Violation[] }

const { fields, $defs } = preferenceSchemas({ inGit: false })

/** JSON Schema of a set in a request. */
export const preferenceRequest = {
  type: 'object',
  properties: {
    ...fields,
    __persistence_strategy__: {
      description: 'Whether the set is merged into the one that there is, or replaces it.',
      enum: ['merge', 'replace', null],
    },
    // What only replies say.
    id: {},
    __typename: {},
  },
  additionalProperties: false,
  $defs,
} as const

/** Reads a set out of a request, where it stands at `pointer`. */
export function readPreferences(value: unknown, pointer: string): PreferenceInput {
  const violations = violationsOf(value, pointer)
  if (violations.length > 0) return { kind: 'invalid', violations }
  const given = value as Properties
  const { __persistence_strategy__: mode, id: _id, __typename: _name, ...settings } = given
  return {
    kind: 'patch',
    patch: {
      settings: withChannelIds(settings),
      mode: (mode ?? undefined) as PreferencePatch['mode'],
    },
  }
}

/** A stored value as a set; undefined where it is none, whoever wrote it. */
export function asPreferences(value: unknown): PreferenceSet | undefined {
  if (!isJsonObject(value)) return undefined
  const known = sound.get(value)
  if (known !== undefined) return known ?? undefined
  // A tenant that was written before preferences were looked at may name channels by their keys.
  const set = violationsOf(value, '').length === 0 ? (withChannelIds(value) as PreferenceSet) : null
  sound.set(value, set)
  return set ?? undefined
}

const sound = new WeakMap<object, PreferenceSet | null>()

/** A recipient's set without what only a tenant may say. What the API shows may be sent back as it is. */
export function withoutStrategies<Value>(value: Value): Value {
  if (!isJsonObject(value)) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => key !== '__strategy__')
      .map(([key, item]) => [key, withoutStrategies(item)]),
  ) as Value
}

function violationsOf(value: unknown, pointer: string): readonly Violation[] {
  validate ??= new Ajv2020({ allErrors: true, allowUnionTypes: true }).compile(preferenceRequest)
  if (!validate(value)) return (validate.errors ?? []).map((error) => violationOf(error, pointer))
  return checkPreferences(withoutNulls(value) as PreferenceSet).map(({ path, message }) => ({
    field: pointer + path.map(pointerStep).join(''),
    message,
  }))
}

let validate: ReturnType<Ajv2020['compile']> | undefined

function violationOf(
  { instancePath, keyword, message, params }: ErrorObject,
  pointer: string,
): Violation {
  const extra: unknown = params['additionalProperty'] ?? params['missingProperty']
  const field = `${pointer}${instancePath}${typeof extra === 'string' ? pointerStep(extra) : ''}`
  if (keyword === 'additionalProperties') return { field, message: 'is no preference' }
  if (keyword === 'required') return { field, message: 'is missing' }
  const allowed = params['allowedValues'] as unknown[] | undefined
  const which = allowed ? `: ${allowed.map(String).join(', ')}` : ''
  return { field, message: `${message ?? keyword}${which}` }
}

function withoutNulls(value: unknown): unknown {
  if (!isJsonObject(value)) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, item]) => item !== null)
      .map(([key, item]) => [key, withoutNulls(item)]),
  )
}
