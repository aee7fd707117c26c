import { isJsonObject } from '../json.ts'
import type { Condition, ConditionResult } from './conditions.ts'
import {
  below,
  commercialSayings,
  sayings,
  type PreferenceChannelType,
  type PreferenceLayers,
  type PreferenceLeaf,
  type Said,
} from './preferences.ts'

/** What is asked of preferences: may this workflow send through this channel? */
export interface PreferenceQuestion {
  readonly workflow: string
  readonly categories: readonly string[]
  /** Asks for `commercial_subscribed`. */
  readonly commercial: boolean
  /** Sends whatever the preferences say. */
  readonly override: boolean
  readonly channelType: PreferenceChannelType
  /** The id of the channel. */
  readonly channel: string
}

/** A setting that counted. */
export interface PreferenceFinding extends PreferenceLeaf {
  readonly result: boolean
  /** What each condition came to, where the setting has some. */
  readonly conditions?: readonly ConditionResult[]
}

export interface PreferenceDecision {
  readonly allowed: boolean
  /** Whether the workflow sends whatever the preferences say: then none was looked at. */
  readonly overridden: boolean
  /** The first setting that says no. */
  readonly decidedBy: PreferenceFinding | null
  /** Every setting that counted, in the order in which they are looked at. */
  readonly findings: readonly PreferenceFinding[]
}

/** Whether conditions hold, and what each came to. */
export type HoldAll = (conditions: readonly Condition[]) => {
  readonly holds: boolean
  readonly results: readonly ConditionResult[]
}

/**
 * Whether a message may be sent: each setting that applies must say yes, and what is not said says yes. On
 * one level the channel's setting stands in the place of its type's.
 */
export function decidePreferences(
  layers: PreferenceLayers,
  question: PreferenceQuestion,
  holdAll: HoldAll,
): PreferenceDecision {
  if (question.override) return { allowed: true, overridden: true, decidedBy: null, findings: [] }
  const findings = applicable(layers, question).map((leaf) => judge(leaf, holdAll))
  const decidedBy = findings.find(({ result }) => !result) ?? null
  return { allowed: decidedBy === null, overridden: false, decidedBy, findings }
}

/** The settings that apply, each with what it says. */
function applicable(all: PreferenceLayers, question: PreferenceQuestion): PreferenceLeaf[] {
  const { layers } = all
  const { workflow, categories, commercial } = question
  return [
    ...(commercial
      ? commercialSayings(all).map((said) => leafOf('commercial_subscribed', said))
      : []),
    ...ofSetting(`workflows.${workflow}`, sayings(layers, 'workflows', workflow), question),
    ...categories.flatMap((category) =>
      ofSetting(`categories.${category}`, sayings(layers, 'categories', category), question),
    ),
    ...ofLevel('', (kind) => sayings(layers, kind), question),
  ]
}

function ofSetting(
  setting: string,
  said: readonly Said[],
  question: PreferenceQuestion,
): PreferenceLeaf[] {
  const [highest] = said
  if (!highest) return []
  if (!isJsonObject(highest.value)) return [leafOf(setting, highest)]
  const [conditions] = below(said, 'conditions')
  return [
    ...(conditions ? [leafOf(`${setting}.conditions`, conditions)] : []),
    ...ofLevel(`${setting}.`, (kind) => below(said, kind), question),
  ]
}

/** The setting of the channel on this level; where there is none, that of its type. */
function ofLevel(
  prefix: string,
  sayingsOf: (kind: 'channels' | 'channel_types') => readonly Said[],
  { channel, channelType }: PreferenceQuestion,
): PreferenceLeaf[] {
  const [own] = below(sayingsOf('channels'), channel)
  if (own) return [leafOf(`${prefix}channels.${channel}`, own)]
  const [ofType] = below(sayingsOf('channel_types'), channelType)
  return ofType ? [leafOf(`${prefix}channel_types.${channelType}`, ofType)] : []
}

function leafOf(setting: string, { value, by }: Said): PreferenceLeaf {
  return { setting, value, ...by }
}

function judge(leaf: PreferenceLeaf, holdAll: HoldAll): PreferenceFinding {
  const { value } = leaf
  if (typeof value === 'boolean') return { ...leaf, result: value }
  const conditions = Array.isArray(value)
    ? value
    : isJsonObject(value)
      ? value['conditions']
      : undefined
  if (!Array.isArray(conditions)) return { ...leaf, result: true }
  const { holds, results } = holdAll(conditions as readonly Condition[])
  return { ...leaf, result: holds, conditions: results }
}
