import { forges, openForge } from '../forges/index.ts'
import { beat, BEAT_MS, endLease } from '../messages/leases.ts'
import { sendNextComment } from '../reconcile/outbox-comments.ts'
import type { Outbox } from '../reconcile/outbox-send.ts'
import { sendNextStatus, sweepOutbox } from '../reconcile/outbox-send.ts'
import { releaseDeadTellers } from '../reconcile/outbox-store.ts'
import { openPullPlanner } from '../reconcile/pull-plan.ts'
import { openPullWatch } from '../reconcile/pull-watch.ts'
import type { Pulls } from '../reconcile/pulls.ts'
import { PLAN_WANTED, RECONCILE_TOPIC } from '../reconcile/read.ts'
import type { Ground } from './ground.ts'
import { addLoop } from './loop.ts'
import type { FirstLook } from './reconcile.ts'

const SWEEP_MS = 3_600_000
/** How often it is seen whether a plan was made, which takes one small query where none is waited for. */
const PULLS_MS = 250

/** Tells the forge what became of commits and what pull requests would change; nothing where no forge is set. */
export async function startForge(ground: Ground, looking: FirstLook): Promise<void> {
  const { config, database, clock, log, metrics, process, handOvers, stack } = ground
  if (!config.forge) return
  if (!config.roles.includes('work')) await startBeating(ground)
  const { url, repository } = config.forge
  const { forge } = stack.use(openForge(config.forge, { clock, signal: handOvers.signal }))
  const place = `${url}/${repository}`
  const provider = config.forge.name
  const note = (result: string) => metrics.count('status_posts_total', { provider, result })
  const told = { database, clock, forge, process, place, log, note }
  const { publicUrl } = config
  const outbox: Outbox = { ...told, publicUrl, random: Math.random }
  const announcing = { instance: config.instance }
  const statuses = addLoop(ground, { name: 'statuses' }, () => sendNextStatus(outbox))
  const comments = addLoop(ground, { name: 'comments' }, () => sendNextComment(outbox, announcing))
  await startPulls(ground, looking, {
    outbox,
    announcing,
    onNews() {
      statuses.wake()
      comments.wake()
    },
  })
  addLoop(ground, { name: 'dead tellers' }, () => releaseDeadTellers(database, clock.now()))
  addLoop(ground, { name: 'told statuses', pollMs: SWEEP_MS }, () => sweepOutbox(outbox))
}

/**
 * Plans pull requests where this process leads. They are looked at when it finds that a ref has moved, and whoever
 * asks for a look at Git has this look as well.
 */
async function startPulls(
  ground: Ground,
  { source, isLeading, onMoved }: FirstLook,
  {
    outbox,
    announcing,
    onNews,
  }: Pick<Pulls, 'announcing'> & { readonly outbox: Outbox; readonly onNews: () => void },
): Promise<void> {
  const { config, database, clock, topics, stack } = ground
  if (!config.forge) return
  const { pullRefs } = forges[config.forge.name]
  const tip = async (branch: string) => (await (source.knownRefs?.() ?? source.refs())).tip(branch)
  const plan = openPullPlanner({ database, clock, source, pullRefs })
  const watch = openPullWatch({ ...outbox, announcing, tip, plan }, outbox, isLeading)
  const loop = addLoop(ground, { name: 'pull requests', pollMs: PULLS_MS }, async () => {
    const done = await watch.turn()
    if (done > 0) onNews()
    return done
  })
  const wake = () => {
    watch.wake()
    loop.wake()
  }
  onMoved(wake)
  // A plan is wanted of what is known; it is mostly the watch itself that wants it.
  const listening = await topics.listen(RECONCILE_TOPIC, (said) => {
    if (said !== PLAN_WANTED) wake()
  })
  stack.defer(() => listening.close())
}

/** Where this process has no other work, nobody else says that it lives. */
async function startBeating(ground: Ground): Promise<void> {
  const { database, process, stack } = ground
  await beat(database, process)
  stack.defer(() => endLease(database, process).catch(() => {}))
  addLoop(ground, { name: 'beat', pollMs: BEAT_MS }, () => beat(database, process).then(() => 0))
}
