import { openForge } from '../forges/index.ts'
import { beat, BEAT_MS, endLease } from '../messages/leases.ts'
import type { Outbox } from '../reconcile/outbox-send.ts'
import { sendNextStatus, sweepOutbox } from '../reconcile/outbox-send.ts'
import { releaseDeadTellers } from '../reconcile/outbox-store.ts'
import type { Ground } from './ground.ts'
import { addLoop } from './loop.ts'

const SWEEP_MS = 3_600_000

/** Tells the forge what became of commits, from now on; nothing where no forge is set. */
export async function startForge(ground: Ground): Promise<void> {
  const { config, database, clock, log, metrics, process, handOvers, stack } = ground
  if (!config.forge) return
  if (!config.roles.includes('work')) await startBeating(ground)
  const { url, repository } = config.forge
  const { forge } = stack.use(openForge(config.forge, { clock, signal: handOvers.signal }))
  const place = `${url}/${repository}`
  const provider = config.forge.name
  const note = (result: string) => metrics.count('status_posts_total', { provider, result })
  const told = { database, clock, forge, process, place, log, note }
  const outbox: Outbox = { ...told, random: Math.random }
  addLoop(ground, { name: 'forge' }, () => sendNextStatus(outbox))
  addLoop(ground, { name: 'dead tellers' }, () => releaseDeadTellers(database, clock.now()))
  addLoop(ground, { name: 'told statuses', pollMs: SWEEP_MS }, () => sweepOutbox(outbox))
}

/** Where this process has no other work, nobody else says that it lives. */
async function startBeating(ground: Ground): Promise<void> {
  const { database, process, stack } = ground
  await beat(database, process)
  stack.defer(() => endLease(database, process).catch(() => {}))
  addLoop(ground, { name: 'beat', pollMs: BEAT_MS }, () => beat(database, process).then(() => 0))
}
