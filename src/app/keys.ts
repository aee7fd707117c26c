import { createKey, findUnknownEnvironments, listKeys, revokeKey } from '../api/keys.ts'
import { SCOPES } from '../api/route.ts'
import { systemClock, type Clock } from '../clock.ts'
import type { Config } from '../config.ts'
import { ConfigError } from '../errors.ts'
import { isKey, isUuid, type EnvironmentName } from '../ids.ts'
import { openMigrated } from './ground.ts'

/** The keys of the installation that the settings name, for commands that need no server. */
export async function openKeys(config: Config, clock: Clock = systemClock) {
  await using stack = new AsyncDisposableStack()
  const database = await openMigrated(config, stack)
  const opened = stack.move()
  return {
    async create(request: {
      readonly environment: string
      readonly name: string
      readonly scopes: readonly string[]
      readonly isPublic: boolean
    }) {
      const { environment, name } = request
      if (!isKey(environment))
        throw new ConfigError(`"${environment}" is no name of an environment`)
      const scopes = SCOPES.filter((scope) => request.scopes.includes(scope))
      const now = clock.now()
      const source = 'command'
      const key = {
        environment: environment as EnvironmentName,
        kind: request.isPublic ? 'public' : 'secret',
        name,
        scopes,
        source,
        now,
      } as const
      const unknown = await findUnknownEnvironments(database, [key.environment])
      return { ...(await createKey(database, key)), isKnown: unknown.length === 0 }
    },
    list: (environment: string | undefined) =>
      listKeys(database, (environment ?? null) as EnvironmentName | null),
    revoke: async (id: string) => isUuid(id) && (await revokeKey(database, id, clock.now())),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}
