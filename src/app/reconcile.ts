import { providers } from '../channels/index.ts'
import { ConfigError } from '../errors.ts'
import { openSources } from '../git/open.ts'
import { Reconciler } from '../reconcile/reconciler.ts'
import type { Ground } from './ground.ts'

const POLL_SECONDS = 10
/** Waited for after the last of a burst of changes; saving and pushing make several. */
const DEBOUNCE_MS = 20
/** How long a broken working tree is left alone: editors and formatters write files in two goes. */
const SETTLE_MS = 300

/** The first look at Git since the start. */
export interface FirstLook {
  readonly done: Promise<void>
  readonly isDone: () => boolean
}

/** Keeps Postgres at what Git says, from now on. */
export async function startReconciler(ground: Ground): Promise<FirstLook> {
  const { config, clock, log, secrets, database, topics, process, stack } = ground
  if (/^https?:/i.test(config.repository))
    throw new ConfigError(
      'a repository over HTTP is not supported: name the path of a local one with --repo',
    )
  const sources = await openSources(config.repository, { development: config.dev })
  const reconciler = new Reconciler({
    database,
    clock,
    ...sources,
    defaultBranch: config.defaultBranch ?? null,
    providers: Object.values(providers),
    hasSecret: (environment, name) => secrets.find(environment, name) !== undefined,
    log,
    settleMs: SETTLE_MS,
    process,
    topics,
    pollMs: (config.pollSeconds ?? POLL_SECONDS) * 1_000,
    debounceMs: DEBOUNCE_MS,
  })
  stack.use(reconciler)
  await reconciler.start()
  let isDone = false
  // A pass that fails is logged and repeated by the reconciler itself.
  const done = reconciler.pass().then(
    () => void (isDone = true),
    () => void (isDone = true),
  )
  return { done, isDone: () => isDone }
}
