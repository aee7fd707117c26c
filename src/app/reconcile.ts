import path from 'node:path'
import { providerList } from '../channels/index.ts'
import { forges } from '../forges/index.ts'
import { openRemote, openSources } from '../git/open.ts'
import type { Sources } from '../git/open.ts'
import type { RemoteRepository } from '../git/remote.ts'
import type { CommitSource } from '../git/source.ts'
import { Reconciler } from '../reconcile/reconciler.ts'
import type { Ground } from './ground.ts'

const POLL_SECONDS_LOCAL = 10
const POLL_SECONDS_REMOTE = 30
/** Waited for after the last of a burst of changes; saving and pushing make several. */
const DEBOUNCE_MS = 20
/** How long a broken working tree is left alone: editors and formatters write files in two goes. */
const SETTLE_MS = 300

/** The first look at Git since the start. */
export interface FirstLook {
  readonly done: Promise<void>
  readonly isDone: () => boolean
  /** What is looked at. */
  readonly source: CommitSource
  /** Whether this process is the one that looks. */
  readonly isLeading: () => boolean
  /** Calls back when a look finds that a branch, or the head of a pull request, may have moved. */
  readonly onMoved: (listener: () => void) => void
}

/** Keeps Postgres at what Git says, from now on. */
export async function startReconciler(ground: Ground): Promise<FirstLook> {
  const { config, clock, log, secrets, database, topics, process, metrics, stack } = ground
  const { sources, remote } = await open(ground)
  const moved = new EventTarget()
  const reconciler = new Reconciler({
    database,
    clock,
    ...sources,
    defaultBranch: config.defaultBranch ?? null,
    providers: providerList,
    hasSecret: (environment, name) => secrets.find(environment, name) !== undefined,
    policyFile: config.policyFile ?? null,
    allowedSigners: config.allowedSigners,
    log,
    metrics,
    announcing: config.forge ? { instance: config.instance } : null,
    onMoved: config.forge ? () => void moved.dispatchEvent(new Event('moved')) : null,
    settleMs: SETTLE_MS,
    process,
    topics,
    pollMs: (config.pollSeconds ?? (remote ? POLL_SECONDS_REMOTE : POLL_SECONDS_LOCAL)) * 1_000,
    debounceMs: DEBOUNCE_MS,
  })
  stack.use(reconciler)
  metrics.watch(reconciler)
  // Closed first, so that a look that waits for the remote ends.
  if (remote) stack.use(remote)
  await reconciler.start()
  let isDone = false
  // A pass that fails is logged and repeated by the reconciler itself.
  const done = reconciler.pass().then(
    () => void (isDone = true),
    () => void (isDone = true),
  )
  const isLeading = () => reconciler.isLeading
  const onMoved = (listener: () => void) => moved.addEventListener('moved', listener)
  return { done, isDone: () => isDone, source: sources.repository, isLeading, onMoved }
}

async function open({ config, metrics }: Ground): Promise<{
  readonly sources: Sources
  readonly remote: RemoteRepository | undefined
}> {
  const development = config.dev
  if (!config.remote) {
    return { sources: await openSources(config.repository, { development }), remote: undefined }
  }
  const mirrors = path.join(config.dataDirectory, 'mirrors')
  const pullRefs = config.forge && forges[config.forge.name].pullRefs
  const settings = { address: config.remote, mirrors, pullRefs, metrics }
  const remote = await openRemote(settings, { development })
  return { sources: { repository: remote, workingTree: null }, remote }
}
