import { DEVELOPMENT, type Access } from '../api/access.ts'
import { originCheck } from '../api/cors.ts'
import { routes } from '../api/index.ts'
import { openChannelHooks } from '../api/hooks/channels.ts'
import { openGitHooks } from '../api/hooks/journal.ts'
import { readRates } from '../api/rate-limits.ts'
import { openDoor } from '../channels/door.ts'
import { startServer, type Server } from '../api/server.ts'
import { noteServer } from '../data-directory.ts'
import type { Ground } from './ground.ts'
import type { FirstLook } from './reconcile.ts'

/** Serves the API, and notes where for the commands of this machine. */
export async function openDoorway(
  { config, clock, log, secrets, database, queue, metrics, topics, links, stack }: Ground,
  access: Access,
  looking: FirstLook | undefined,
): Promise<Server> {
  const hasLookedAtGit = () => looking?.isDone() ?? true
  const findSecret = (environment: string, name: string) => secrets.find(environment, name)
  const gitHooks = openGitHooks({ secrets: config.webhookSecrets, clock, log, metrics })
  const door = openDoor({ allow: config.allowedTargets, loopback: config.dev })
  stack.defer(() => door.close())
  const { publicUrl } = config
  const channelHooks = openChannelHooks({ door, publicUrl, clock, log, metrics })
  const server = await startServer({
    database,
    clock,
    log,
    services: {
      queue,
      hasLookedAtGit,
      startedAt: clock.now(),
      findSecret,
      gitHooks,
      channelHooks,
      metrics,
      links,
    },
    routes,
    operatorToken: access.operatorToken,
    ...(config.dev && { unsignedIn: DEVELOPMENT }),
    host: config.host,
    port: { number: config.port, explicit: !config.portIsDefault },
    loopbackOnly: config.dev,
    rates: await readRates(config.rateLimits, routes),
    allowsOrigin: originCheck(config.corsOrigins, config.dev),
    topics,
  })
  stack.defer(() => server.close())
  const started_at = clock.now().toISOString()
  const note = { url: server.url, pid: process.pid, started_at, dev: config.dev }
  stack.defer(noteServer(config.dataDirectory, note))
  return server
}
