import type { ChannelKey, EnvironmentName } from '../ids.ts'
import { withChannelIds } from '../language/preference-schema.ts'
import type { PreferenceSet } from '../language/preferences.ts'
import type { ClientKeyEntry } from './client-keys.ts'
import { schedulesOf, type ScheduleEntry } from './declared-schedules.ts'
import type { Channel, EnvironmentSettings, Policy, Variable } from './environment.ts'
import type { ParsedFile } from './parse.ts'
import type { Source } from './sources.ts'

/** An environment file that fits its schema. */
export interface EnvironmentFile {
  readonly ref?: string
  readonly promotes_from?: EnvironmentName
  readonly timezone?: string
  readonly locale?: string
  readonly policy?: Partial<Omit<Policy, 'promotes_from'>>
  readonly variables?: Readonly<
    Record<
      string,
      { readonly value?: unknown; readonly public?: boolean; readonly secret?: string }
    >
  >
  readonly channels?: Readonly<Record<ChannelKey, ChannelEntry>>
  readonly sources?: Readonly<Record<string, Source>>
  readonly schedules?: Readonly<Record<string, ScheduleEntry>>
  readonly preferences?: PreferenceSet
  readonly client_keys?: Readonly<Record<string, ClientKeyEntry>>
}

export type ChannelEntry = Pick<Channel, 'type' | 'provider' | 'name' | 'conditions'> &
  Partial<Pick<Channel, 'sandbox' | 'on_ambiguous' | 'suppress_bounced' | 'settings'>>

/** What an environment file that is in order says, as it is kept. */
export function settingsOf(
  file: ParsedFile,
  {
    timezone,
    locale,
    variables,
    channels,
    sources,
    preferences,
    client_keys: keys,
    schedules,
  }: EnvironmentFile,
  read: NonNullable<EnvironmentSettings['client_keys']>,
): EnvironmentSettings {
  return {
    timezone: timezone ?? 'UTC',
    locale: locale ?? 'en',
    variables: Object.fromEntries(
      Object.entries(variables ?? {}).map(([name, entry]) => [name, variableOf(entry)]),
    ),
    channels: Object.fromEntries(
      Object.entries<ChannelEntry>(channels ?? {}).map(([key, entry]) => [
        key,
        channelOf(key as ChannelKey, entry),
      ]),
    ),
    ...(sources !== undefined && { sources }),
    ...(schedules !== undefined && { schedules: schedulesOf(file, schedules) }),
    ...(preferences !== undefined && { preferences: withChannelIds(preferences) }),
    ...(keys !== undefined && { client_keys: read }),
  }
}

function variableOf(entry: {
  readonly value?: unknown
  readonly public?: boolean
  readonly secret?: string
}): Variable {
  if (entry.secret !== undefined) return { secret: entry.secret }
  return { value: entry.value, public: entry.public ?? false }
}

function channelOf(key: ChannelKey, entry: ChannelEntry): Channel {
  const { type, provider, name, conditions, sandbox, on_ambiguous, settings } = entry
  const { suppress_bounced } = entry
  return {
    key,
    type,
    provider,
    ...(name !== undefined && { name }),
    sandbox: sandbox ?? false,
    ...(conditions !== undefined && { conditions }),
    on_ambiguous: on_ambiguous ?? 'retry',
    ...(suppress_bounced !== undefined && { suppress_bounced }),
    settings: settings ?? {},
  }
}
