import { isJsonObject } from '../json.ts'
import type { Condition } from './conditions.ts'

/** The kinds of channel that preferences name. */
export const PREFERENCE_CHANNEL_TYPES = [
  'email',
  'sms',
  'push',
  'chat',
  'in_app_feed',
  'http',
] as const
export type PreferenceChannelType = (typeof PREFERENCE_CHANNEL_TYPES)[number]

/** The set of a recipient that counts where no tenant has one. */
export const DEFAULT_SET = 'default'

/** What somebody wants to get. What is not said counts as wanted. */
export interface PreferenceSet {
  /** By the key of a workflow. */
  readonly workflows?: Readonly<Record<string, PreferenceSetting>>
  /** By the name of a category. */
  readonly categories?: Readonly<Record<string, PreferenceSetting>>
  readonly channel_types?: PreferenceChannels
  /** By the id of a channel. */
  readonly channels?: PreferenceChannels
  /** Whether commercial workflows may send. */
  readonly commercial_subscribed?: PreferenceValue
}

export type PreferenceSetting =
  | boolean
  | {
      readonly conditions?: readonly Condition[]
      readonly channel_types?: PreferenceChannels
      readonly channels?: PreferenceChannels
      readonly __strategy__?: PreferenceStrategy
    }

export type PreferenceChannels = Readonly<Record<string, PreferenceValue | PreferenceStrategy>>

/** Yes, no, or yes where all conditions hold. */
export type PreferenceValue = boolean | { readonly conditions?: readonly Condition[] }

/** Whether a setting of a tenant yields to what its recipients say, or stands in its place. */
export type PreferenceStrategy = 'merge' | 'replace'

/** Whose set something stands in, and that set's id where it has one. */
export interface PreferenceOrigin {
  readonly set: 'recipient' | 'tenant' | 'environment'
  readonly id: string | null
}

/** One set that counts. */
export interface PreferenceLayer extends PreferenceOrigin {
  readonly settings: PreferenceSet
}

/** The sets that there are for a recipient, with or without a tenant. */
export interface PreferenceSources {
  /** The tenant that is spoken for; null where there is none. */
  readonly tenant: string | null
  /** The recipient's own set `default`. */
  readonly own: PreferenceSet | undefined
  /** The recipient's own set for the tenant. */
  readonly ownForTenant: PreferenceSet | undefined
  /** What the tenant says for its recipients. */
  readonly tenantDefault: PreferenceSet | undefined
  readonly environment: PreferenceSet | undefined
}

/** The sets that count, highest first. */
export interface PreferenceLayers {
  readonly layers: readonly PreferenceLayer[]
  /** What the recipient says of commercial messages, in any of its sets that could count. */
  readonly commercial: readonly PreferenceLayer[]
  /** Whether a tenant is spoken for that neither the tenant nor the recipient has a set for. */
  readonly fallback: boolean
}

/** Which of the sets count, and in which order. */
export function layersOf(sources: PreferenceSources): PreferenceLayers {
  const { tenant, own, ownForTenant, tenantDefault, environment } = sources
  const general = layer('recipient', DEFAULT_SET, own)
  const last = layer('environment', null, environment)
  if (tenant === null || (ownForTenant === undefined && tenantDefault === undefined))
    return { layers: [...general, ...last], commercial: general, fallback: tenant !== null }
  const special = layer('recipient', tenant, ownForTenant)
  return {
    layers: [...special, ...layer('tenant', tenant, tenantDefault), ...last],
    commercial: [...special, ...general],
    fallback: false,
  }
}

function layer(
  set: PreferenceOrigin['set'],
  id: string | null,
  settings: PreferenceSet | undefined,
): readonly PreferenceLayer[] {
  return settings === undefined ? [] : [{ set, id, settings }]
}

/** A value at one place of the sets, and whose it is. */
export interface Said {
  readonly value: unknown
  readonly by: PreferenceOrigin
}

/** The kinds of setting that a tenant may put in the place of what its recipients say. */
export type PreferenceKind = 'workflows' | 'categories' | 'channel_types' | 'channels'

/**
 * What the sets say of one setting, highest first: of `key` where the kind has keys. Where the tenant's
 * replaces, what stands above it does not count.
 */
export function sayings(
  layers: readonly PreferenceLayer[],
  kind: PreferenceKind,
  key?: string,
): readonly Said[] {
  const said = layers.flatMap(({ settings, set, id }): readonly Said[] => {
    const all = settings[kind]
    if (all === undefined) return []
    if (key === undefined) return [{ value: all, by: { set, id } }]
    return Object.hasOwn(all, key) ? [{ value: all[key], by: { set, id } }] : []
  })
  const replacing = said.findIndex(({ value, by }) => by.set === 'tenant' && replaces(value))
  return replacing === -1 ? said : said.slice(replacing)
}

function replaces(value: unknown): boolean {
  return isJsonObject(value) && value['__strategy__'] === 'replace'
}

/**
 * What is said at `key` below a place: of groups, key by key, each one the highest that has it. A value
 * that is no group hides all that stands below it.
 */
export function below(said: readonly Said[], key: string): readonly Said[] {
  return groupsOf(said).flatMap(({ value, by }) =>
    Object.hasOwn(value, key) ? [{ value: value[key], by }] : [],
  )
}

interface SaidGroup extends Said {
  readonly value: Group
}

function groupsOf(said: readonly Said[]): readonly SaidGroup[] {
  const end = said.findIndex(({ value }) => !isJsonObject(value))
  return (end === -1 ? said : said.slice(0, end)) as readonly SaidGroup[]
}

type Group = Readonly<Record<string, unknown>>

/** One setting of what the sets come to. */
export interface PreferenceLeaf extends PreferenceOrigin {
  /** Such as `categories.marketing.channel_types.email`. */
  readonly setting: string
  readonly value: unknown
}

/** What the sets come to, as one set, and where each of its settings stands. */
export function effectivePreferences({ layers, commercial }: PreferenceLayers): {
  readonly settings: PreferenceSet
  readonly leaves: readonly PreferenceLeaf[]
} {
  const leaves: PreferenceLeaf[] = []
  const settings: Record<string, unknown> = {}
  for (const kind of ['workflows', 'categories'] as const) {
    const keys = new Set(layers.flatMap((one) => Object.keys(one.settings[kind] ?? {})))
    const all = [...keys].map(
      (key) => [key, collect(sayings(layers, kind, key), `${kind}.${key}`, leaves)] as const,
    )
    if (layers.some((one) => one.settings[kind] !== undefined))
      settings[kind] = Object.fromEntries(all)
  }
  for (const kind of ['channel_types', 'channels'] as const) {
    const said = sayings(layers, kind)
    if (said.length > 0) settings[kind] = collect(said, kind, leaves)
  }
  const [subscribed] = commercialSayings({ layers, commercial }).toSorted(
    (a, b) => Number(a.value !== false) - Number(b.value !== false),
  )
  if (subscribed)
    settings['commercial_subscribed'] = collect([subscribed], 'commercial_subscribed', leaves)
  return { settings, leaves }
}

/**
 * What decides about commercial messages: all that the recipient says, which beats tenant and environment
 * also where it stands in the set `default`; else the highest.
 */
export function commercialSayings({
  layers,
  commercial,
}: Pick<PreferenceLayers, 'layers' | 'commercial'>): readonly Said[] {
  const of = (list: readonly PreferenceLayer[]) =>
    list.flatMap(({ settings: { commercial_subscribed: value }, set, id }): readonly Said[] =>
      value === undefined ? [] : [{ value, by: { set, id } }],
    )
  const own = of(commercial)
  return own.length > 0 ? own : of(layers).slice(0, 1)
}

/** The merged value of a place; its leaves are added to the list. */
function collect(said: readonly Said[], setting: string, leaves: PreferenceLeaf[]): unknown {
  const [highest] = said
  if (!highest || !isJsonObject(highest.value)) {
    if (highest) leaves.push({ setting, value: highest.value, ...highest.by })
    return highest?.value
  }
  const keys = new Set(groupsOf(said).flatMap(({ value }) => Object.keys(value)))
  return Object.fromEntries(
    [...keys].map((key) => [key, collect(below(said, key), `${setting}.${key}`, leaves)]),
  )
}
