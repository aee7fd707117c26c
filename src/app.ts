import { setTimeout as pause } from 'node:timers/promises'
import { prepareAccess, warnOfUnknownEnvironments } from './api/access.ts'
import type { Server } from './api/server.ts'
import { openDoorway } from './app/doorway.ts'
import { startForge } from './app/forge.ts'
import { openGround, type AppOptions, type Ground } from './app/ground.ts'
import { startReconciler, type FirstLook } from './app/reconcile.ts'
import { startWork } from './app/work.ts'
import type { Config, Role } from './config.ts'
import type { EnvironmentName } from './ids.ts'
import { listWorkflows } from './reconcile/read.ts'

/** A running Belfry. Closing it leaves nothing running that it started. */
export interface App extends AsyncDisposable {
  /** Undefined where this process answers no requests. */
  readonly url: string | undefined
  /** The key of `development`, in development mode. */
  readonly key: string | undefined
  /** The public key of `development`, likewise. */
  readonly publicKey: string | undefined
  readonly operatorToken: string | undefined
  /** Resolves when Git was looked at once, with whatever result, or after a while. */
  readonly firstLook: Promise<void>
  /** The keys of the workflows that are live in an environment, a page at most. */
  listWorkflows(environment: string): Promise<readonly string[]>
  close(): Promise<void>
}

const FIRST_LOOK_MS_MAX = 15_000
const WORKFLOWS_MAX = 1_000
/** How long hand-overs under way may still take when the process is told to stop. */
const GRACE_MS = 1_000

/**
 * Starts what the roles ask for. Whatever was started is stopped again where a later part fails.
 * Throws a `ConfigError` that says what to change where the settings do not allow it.
 */
export async function startApp(config: Config, options: AppOptions): Promise<App> {
  await using stack = new AsyncDisposableStack()
  const ground = await openGround(config, options, stack)
  const { log, queue } = ground
  const has = (role: Role) => config.roles.includes(role)
  for (const warning of config.warnings) log.warn(warning)
  const access = await prepareAccess(ground)
  if (has('work')) await startWork(ground)
  const looking = has('reconcile') ? await startReconciler(ground) : undefined
  if (looking) await startForge(ground, looking)
  const server = has('api') ? await openDoorway(ground, access, looking) : undefined
  if (has('work')) queue.start()
  const firstLook = awaitFirstLook(ground, looking)
  const running = stack.move()
  let closing: Promise<void> | undefined
  const close = () => (closing ??= closeApp({ ...ground, stack: running }, server))
  return {
    url: server?.url,
    ...access,
    firstLook,
    async listWorkflows(environment) {
      const page = { limit: WORKFLOWS_MAX }
      const views = await listWorkflows(ground.database, environment as EnvironmentName, page)
      return views.map(({ key }) => key)
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}

async function awaitFirstLook(ground: Ground, looking: FirstLook | undefined): Promise<void> {
  const patience = new AbortController()
  const timeout = pause(FIRST_LOOK_MS_MAX, undefined, { ref: false, signal: patience.signal })
  // An abort is how the pause ends when the look is done.
  await Promise.race([looking?.done, timeout.catch(() => {})])
  patience.abort()
  // It only warns, and the app may have been closed meanwhile.
  await warnOfUnknownEnvironments(ground).catch(() => {})
}

async function closeApp(
  { stack, queue, handOvers }: Ground,
  server: Server | undefined,
): Promise<void> {
  const cut = setTimeout(() => handOvers.abort(), GRACE_MS)
  // These two wait for others; the rest is quick and in the reverse order of its start.
  await Promise.all([server?.close(), queue.close()])
  clearTimeout(cut)
  await stack.disposeAsync()
}
