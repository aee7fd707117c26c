import {
  APPLICATION_SCOPES,
  createKey,
  derivePublicKey,
  findUnknownEnvironments,
  makeKey,
  makeOperatorToken,
  syncSettingsKeys,
} from './keys.ts'
import type { Clock } from '../clock.ts'
import type { Config } from '../config.ts'
import { keepDevCredentials, readDevCredentials } from '../data-directory.ts'
import type { Database } from '../db/database.ts'
import type { EnvironmentName } from '../ids.ts'
import type { Log } from '../log.ts'

/** Who may call: what a person is shown at the start in development mode. */
export interface Access {
  /** The key of `development`; undefined outside development mode. */
  readonly key: string | undefined
  /** The public key of `development`, likewise. */
  readonly publicKey: string | undefined
  readonly operatorToken: string | undefined
}

export interface AccessGround {
  readonly config: Config
  readonly clock: Clock
  readonly log: Log
  readonly database: Database
}

/** The environment of development mode. */
export const DEVELOPMENT = 'development' as EnvironmentName

/** Makes the stored keys what the settings say; in development mode makes a key and an operator token, once. */
export async function prepareAccess(ground: AccessGround): Promise<Access> {
  const { config, clock, log, database } = ground
  const now = clock.now()
  const keys = config.apiKeys.map(({ environment, key }) => {
    return { environment: environment as EnvironmentName, key }
  })
  await syncSettingsKeys(database, keys, now)
  if (!config.dev) {
    if (config.operatorToken === undefined && keys.length === 0)
      log.info('no keys in the settings: make one with "belfry keys create"')
    return { key: undefined, publicKey: undefined, operatorToken: config.operatorToken }
  }
  const made = { key: makeKey(DEVELOPMENT), operator_token: makeOperatorToken() }
  const kept =
    readDevCredentials(config.dataDirectory) ?? keepDevCredentials(config.dataDirectory, made)
  const publicKey = derivePublicKey(DEVELOPMENT, kept.key)
  for (const key of [kept.key, publicKey]) {
    await createKey(database, {
      environment: DEVELOPMENT,
      name: 'development',
      scopes: APPLICATION_SCOPES,
      source: 'development',
      key,
      now,
    })
  }
  return {
    key: kept.key,
    publicKey,
    operatorToken: config.operatorToken ?? kept.operator_token,
  }
}

/** Says which environments of `BELFRY_API_KEYS` are not there; to be asked when Git was looked at. */
export async function warnOfUnknownEnvironments(ground: AccessGround): Promise<void> {
  const { config, log, database } = ground
  const names = config.apiKeys.map(({ environment }) => environment as EnvironmentName)
  for (const environment of await findUnknownEnvironments(database, names))
    log.warn('BELFRY_API_KEYS has a key of an environment that does not exist', { environment })
}
