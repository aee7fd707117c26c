import { isJsonObject } from '../json.ts'
import { channelId, isUuid, type ChannelKey } from '../ids.ts'
import {
  checkConditions,
  CONDITIONS_MAX,
  conditionsSchema,
  conditionVariables,
  type Condition,
  type ConditionProblem,
} from './conditions.ts'
import { PREFERENCE_CHANNEL_TYPES, type PreferenceSet } from './preferences.ts'

/** Of workflows, categories and channels that one set names. */
export const PREFERENCE_KEYS_MAX = 1_000
const KEY_LENGTH_MAX = 255

/** JSON Schemas of a set: of its parts, and what these name as `#/$defs/…`. */
export interface PreferenceSchemas {
  readonly fields: Readonly<Record<string, object>>
  readonly $defs: Readonly<Record<string, object>>
}

/** The schemas of a set in a file; in a request null clears, and a setting of a tenant may replace. */
export function preferenceSchemas({ inGit }: { readonly inGit: boolean }): PreferenceSchemas {
  const nullable = inGit ? [] : ['null']
  const strategy = inGit ? {} : { __strategy__: { enum: ['merge', 'replace', null] } }
  const value = { $ref: '#/$defs/preference' }
  const setting = { $ref: '#/$defs/preference_setting' }
  const channelTypes = {
    description: 'By the type of the channel.',
    type: ['object', ...nullable],
    properties: {
      ...Object.fromEntries(PREFERENCE_CHANNEL_TYPES.map((type) => [type, value])),
      ...strategy,
    },
    additionalProperties: false,
  }
  const keyed = (description: string, entries: object, more: object = {}) => ({
    description,
    type: ['object', ...nullable],
    maxProperties: PREFERENCE_KEYS_MAX,
    propertyNames: {
      description: `1 to ${KEY_LENGTH_MAX} characters, and not "__strategy__"`,
      pattern: `^(?!__strategy__$)[^]{1,${KEY_LENGTH_MAX}}$`,
    },
    properties: more,
    additionalProperties: entries,
  })
  const channels = keyed('By the key or the id of the channel.', value, strategy)
  return {
    fields: {
      workflows: keyed('By the key of the workflow.', setting),
      categories: keyed('By the name of the category.', setting),
      channel_types: channelTypes,
      channels,
      commercial_subscribed: { ...value, description: 'Whether commercial workflows may send.' },
    },
    $defs: {
      preference: {
        description: '`true`, `false`, or `{ conditions }`: true where all of them hold.',
        type: ['boolean', 'object', ...nullable],
        required: ['conditions'],
        properties: { conditions: { $ref: '#/$defs/preference_conditions' } },
        additionalProperties: false,
      },
      preference_setting: {
        description: '`true`, `false`, or what holds under `conditions` or for some channels.',
        type: ['boolean', 'object', ...nullable],
        properties: {
          conditions: inGit
            ? { $ref: '#/$defs/preference_conditions' }
            : { ...conditionList, type: ['array', 'null'] },
          channel_types: channelTypes,
          channels,
          ...strategy,
        },
        additionalProperties: false,
      },
      preference_conditions: conditionList,
    },
  }
}

const conditionList = {
  description: 'All of these must hold.',
  type: 'array',
  maxItems: CONDITIONS_MAX,
  items: conditionsSchema.properties.all.items,
} as const

/** What a schema cannot say of a set that has its shape, each with its place in the set. */
export function checkPreferences(set: PreferenceSet): readonly ConditionProblem[] {
  return [
    ...listLists(set, []).flatMap(({ list, path }) => [
      ...checkConditions({ all: list }).map((problem) => ({
        ...problem,
        path: [...path, ...problem.path.slice(1)],
      })),
      ...conditionVariables({ all: list })
        .filter(({ variable }) => variable.startsWith('refs.'))
        .map((use) => ({
          path: [...path, ...use.path.slice(1)],
          code: 'invalid_path',
          message: 'preferences know nothing of the steps of a workflow',
        })),
    ]),
    ...listTwins(set),
  ]
}

/** Every list of conditions in a set, with its place. */
export function listLists(
  value: unknown,
  path: readonly string[],
): readonly { readonly list: readonly Condition[]; readonly path: readonly string[] }[] {
  if (!isJsonObject(value)) return []
  return Object.entries(value).flatMap(([key, item]) => {
    const at = [...path, key]
    // A workflow or a category may have this name; what stands there is no list.
    if (key === 'conditions' && Array.isArray(item))
      return [{ list: item as readonly Condition[], path: at }]
    return listLists(item, at)
  })
}

/** A channel that is named by its key and by its id would have two settings in one place. */
function listTwins(set: PreferenceSet): readonly ConditionProblem[] {
  const places = Map.groupBy(listChannelNames(set, []), ({ name, path }) =>
    JSON.stringify([...path.slice(0, -1), idOf(name)]),
  )
  return [...places.values()].flatMap(([, second]) =>
    second === undefined
      ? []
      : [{ path: second.path, code: 'invalid_value', message: 'names a channel a second time' }],
  )
}

/** Every channel that a set names, as it names it. */
export function listChannelNames(
  value: unknown,
  path: readonly string[],
): readonly { readonly name: string; readonly path: readonly string[] }[] {
  if (!isJsonObject(value)) return []
  return Object.entries(value).flatMap(([key, item]) => {
    const at = [...path, key]
    if (!isChannels(path)) return listChannelNames(item, at)
    return key === '__strategy__' ? [] : [{ name: key, path: at }]
  })
}

/** Whether `channels` of a set or of one of its settings stands at this path. */
function isChannels(path: readonly string[]): boolean {
  return path.at(-1) === 'channels' && (path.length === 1 || path.length === 3)
}

/** The set with the ids of channels in the place of their keys. */
export function withChannelIds<Value>(value: Value, path: readonly string[] = []): Value {
  if (!isJsonObject(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => {
      const isName = isChannels(path) && key !== '__strategy__'
      return [isName ? idOf(key) : key, withChannelIds(item, [...path, key])]
    }),
  ) as Value
}

function idOf(name: string): string {
  return isUuid(name) ? name.toLowerCase() : channelId(name as ChannelKey)
}
