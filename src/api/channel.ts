import type { Queryable } from '../db/database.ts'
import type { ChannelKey, EnvironmentName } from '../ids.ts'
import { loadEnvironment } from '../messages/environments.ts'
import { channelNamed } from '../runs/channel-data.ts'
import { invalid } from '../recipients/recipient.ts'

/** A channel of the environment by its key or its id; undefined where it has none. */
export async function findChannel(
  db: Queryable,
  environment: EnvironmentName,
  name: string,
): Promise<ChannelKey | undefined> {
  const applied = await loadEnvironment(db, environment)
  return applied && channelNamed(applied.settings, name)?.key
}

/** As `findChannel`, for the body's `channel`; throws a 422 `invalid_params` where there is none. */
export async function requireChannel(
  db: Queryable,
  environment: EnvironmentName,
  name: string,
): Promise<ChannelKey> {
  const key = await findChannel(db, environment, name)
  if (key !== undefined) return key
  throw invalid('/channel', `"${name}" is neither key nor id of a channel of ${environment}`)
}
