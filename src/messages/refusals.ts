import type { Answer } from '../channels/provider.ts'
import type { Clock } from '../clock.ts'
import type { Database } from '../db/database.ts'
import { messageOf } from '../errors.ts'
import type { EnvironmentName } from '../ids.ts'
import type { Log } from '../log.ts'
import { laneOf } from './claim.ts'
import type { Claims } from './claim.ts'
import type { DueMessage } from './delivery-store.ts'
import { endRefusal, noteRefusal } from './pace-store.ts'

/** The part of a log that hand-overs need. */
export type Alerts = Pick<Log, 'info' | 'warn' | 'error'>

export interface RefusalContext {
  readonly database: Database
  readonly clock: Clock
  readonly log: Alerts
  /** What this process has seen, so that it need not ask Postgres before each hand-over. */
  readonly refused: Map<string, Date>
}

/** How long a channel rests whose refusal could not be written down. */
const UNWRITTEN_MS = 30_000

/**
 * Looks at what an answer says about its channel. The first refusal of the channel as a whole is told once, and
 * from then on its messages wait while one at a time tries; the first that the service answers in another way
 * ends that. Answers what is to be settled: a message that was refused comes back when one may try again.
 */
export async function watchChannel(
  ctx: RefusalContext,
  claims: Pick<Claims, 'environment' | 'probes'>,
  message: DueMessage,
  answer: Answer,
): Promise<Answer> {
  const { environment } = claims
  if (answer.kind === 'failed' && answer.channel) {
    if (!isOfChannel(message)) {
      const { channel: _, ...own } = answer
      return own
    }
    const probeAt = await refuse(ctx, environment, message, answer.details)
    return { ...answer, retryAfterMs: probeAt.getTime() - ctx.clock.now().getTime() }
  }
  const isTaken = ['accepted', 'rejected', 'bounced'].includes(answer.kind)
  if (isTaken && claims.probes.has(message.id)) await mend(ctx, environment, message)
  return answer
}

/** A mail with a sender of its own may be refused for that; then another's is not. */
function isOfChannel({ content }: DueMessage): boolean {
  return content.type !== 'email' || content.from === null
}

async function refuse(
  ctx: RefusalContext,
  environment: EnvironmentName,
  { channel }: DueMessage,
  details: string,
): Promise<Date> {
  const { database, clock, log, refused } = ctx
  const now = clock.now()
  try {
    const { isNew, probeAt } = await noteRefusal(database, { environment, channel, details, now })
    refused.set(laneOf(environment, channel), probeAt)
    if (isNew) {
      log.error('a channel is refused by its service; its messages wait', {
        environment,
        channel,
        details,
      })
    }
    return probeAt
  } catch (error) {
    log.warn('the refusal of a channel could not be noted', { error: messageOf(error) })
    return new Date(now.getTime() + UNWRITTEN_MS)
  }
}

async function mend(
  { database, log, refused }: RefusalContext,
  environment: EnvironmentName,
  { channel }: DueMessage,
): Promise<void> {
  refused.delete(laneOf(environment, channel))
  try {
    if (!(await endRefusal(database, environment, channel))) return
    log.info('a channel is taken by its service again', { environment, channel })
  } catch (error) {
    // The next message that tries does it.
    log.warn('that a channel is mended could not be noted', { error: messageOf(error) })
  }
}
