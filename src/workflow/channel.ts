import type { Channel, EnvironmentSettings } from './environment.ts'
import type { ChannelKey } from '../ids.ts'
import type { ChannelType } from '../steps/step.ts'

/** The channel a step sends by, or why there is none. */
export type ChannelChoice =
  | { readonly kind: 'channel'; readonly channel: Channel }
  | { readonly kind: 'none'; readonly reason: 'channel_missing' | 'channel_ambiguous' }

/** The channel of that key, else the environment's only one of its type. */
export function chooseChannel(
  settings: EnvironmentSettings,
  named: ChannelKey | undefined,
  type: ChannelType,
): ChannelChoice {
  if (named !== undefined) {
    const channel = settings.channels[named]
    if (channel?.type === type) return { kind: 'channel', channel }
    return { kind: 'none', reason: 'channel_missing' }
  }
  const [channel, ...others] = Object.values(settings.channels).filter(
    (other) => other.type === type,
  )
  if (!channel) return { kind: 'none', reason: 'channel_missing' }
  if (others.length > 0) return { kind: 'none', reason: 'channel_ambiguous' }
  return { kind: 'channel', channel }
}
