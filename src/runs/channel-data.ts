import { channelDataProblems, normalChannelData } from '../channels/channel-data.ts'
import { isProviderName, providers } from '../channels/index.ts'
import type { ChannelDataKind } from '../channels/provider.ts'
import type { Transaction } from '../db/database.ts'
import { RequestError } from '../errors.ts'
import { channelId, type EnvironmentName } from '../ids.ts'
import { loadEnvironment } from '../messages/environments.ts'
import { saveChannelData, type ChannelData } from '../recipients/channel-data-store.ts'
import type { RecipientRef } from '../recipients/recipient.ts'
import { upsertRecipients } from '../recipients/store.ts'
import type { Channel, EnvironmentSettings } from '../workflow/environment.ts'
import type { InlineEntity } from './trigger-request.ts'

/** What a request says of where a recipient is reached: data by the key or the id of a channel. */
export interface GivenChannelData extends RecipientRef {
  readonly channelData: Readonly<Record<string, unknown>>
  /** JSON Pointer to the data of a channel in the request. */
  readonly pointer: (name: string) => string
}

/** What a provider needs to know of a recipient, beside its properties. */
export function channelDataKind({ provider }: Channel): ChannelDataKind | undefined {
  if (!isProviderName(provider)) return undefined
  const known: { readonly channelData?: ChannelDataKind } = providers[provider]
  return known.channelData
}

/** The channel with this key or id. */
export function channelNamed(settings: EnvironmentSettings, name: string): Channel | undefined {
  return Object.values(settings.channels).find(
    ({ key }) => key === name || channelId(key) === name.toLowerCase(),
  )
}

/**
 * Stores what was given with recipients that are there already. Throws a 422 `RequestError` that points at
 * each channel that is not there, and at what is no data of its kind.
 */
export async function storeChannelData(
  tx: Transaction,
  environment: EnvironmentName,
  given: readonly GivenChannelData[],
  now: Date,
): Promise<readonly ChannelData[]> {
  if (given.every(({ channelData }) => Object.keys(channelData).length === 0)) return []
  const applied = await loadEnvironment(tx, environment)
  const read = given.flatMap((one) => readGiven(applied?.settings, one))
  const problems = read.flatMap((one) => ('problems' in one ? one.problems : []))
  const [first] = problems
  if (first) {
    throw new RequestError(422, 'invalid_params', `${first.field} ${first.message}`, problems)
  }
  const entries = read.flatMap((one) => ('problems' in one ? [] : [one]))
  await saveChannelData(tx, environment, entries, now)
  return entries
}

/** Stores what a request says inline of recipients: what they are, and then where they are reached. */
export async function storeInline(
  tx: Transaction,
  environment: EnvironmentName,
  entities: readonly InlineEntity[],
  now: Date,
): Promise<void> {
  if (entities.length === 0) return
  await upsertRecipients(tx, environment, entities, now)
  const given = entities.flatMap(({ channelData }) => channelData ?? [])
  await storeChannelData(tx, environment, given, now)
}

interface Problems {
  readonly problems: readonly { readonly field: string; readonly message: string }[]
}

function readGiven(
  settings: EnvironmentSettings | undefined,
  { collection, id, channelData, pointer }: GivenChannelData,
): readonly (ChannelData | Problems)[] {
  return Object.entries(channelData).map(([name, data]) => {
    const field = pointer(name)
    const channel = settings && channelNamed(settings, name)
    if (!channel) return problem(field, 'is neither key nor id of a channel')
    const kind = channelDataKind(channel)
    if (kind === undefined) return problem(field, 'is a channel that takes no channel data')
    const problems = channelDataProblems(kind, data)
    if (problems.length > 0) {
      return {
        problems: problems.map(({ path, message }) => ({ field: field + path, message })),
      }
    }
    const normal = normalChannelData(kind, data as Readonly<Record<string, unknown>>)
    return { collection, id, channel: channel.key, data: normal }
  })
}

function problem(field: string, message: string): Problems {
  return { problems: [{ field, message }] }
}
