import type { StatusAnswer, StatusPoll } from '../channels/status-poll.ts'
import { scrubText } from '../channels/exchange.ts'
import type { Report } from '../channels/report.ts'
import { requireSecret, withSecrets } from '../channels/secret.ts'
import { messageOf } from '../errors.ts'
import type { Channel } from '../workflow/environment.ts'
import { providerOf } from './claim.ts'
import type { DeliveryContext } from './deliver.ts'
import { loadEnvironment } from './environments.ts'
import { deletePolls, lockPolls, postponePolls, takePolls, type Poll } from './poll-store.ts'
import { takeReports } from './report-store.ts'

export type PollingContext = Pick<
  DeliveryContext,
  'database' | 'clock' | 'process' | 'door' | 'signal' | 'secret' | 'log'
>

const POLLS_PER_TURN = 3_000
/** For one request. */
const ASK_MS_MAX = 30_000

/**
 * One turn of the loop that asks services what became of messages, each for all that are due of one channel: claims
 * them, asks outside of any transaction, and settles what was answered. Answers how many it asked about.
 */
export async function pollStatuses(ctx: PollingContext): Promise<number> {
  const { database, clock, process } = ctx
  const due = await database.transaction((tx) =>
    takePolls(tx, process, clock.now(), POLLS_PER_TURN),
  )
  const groups = Map.groupBy(due, ({ environment, channel }) => `${environment}/${channel}`)
  for (const group of groups.values()) await pollChannel(ctx, group)
  return due.length
}

async function pollChannel(ctx: PollingContext, due: readonly Poll[]): Promise<void> {
  const [{ environment, channel: key }] = due as [Poll]
  const settings = (await loadEnvironment(ctx.database, environment))?.settings
  const channel = settings?.channels[key]
  const poll = channel && providerOf(channel)?.poll
  // The channel is another one by now, whose service knows none of them.
  if (!poll) return await ctx.database.transaction((tx) => deletePolls(tx, due))
  for (let start = 0; start < due.length; start += poll.count) {
    // What is left stays claimed by this process, and free once its lease has ended.
    if (ctx.signal.aborted) return
    await askAbout(ctx, { channel, poll }, due.slice(start, start + poll.count))
  }
}

interface Asked {
  readonly channel: Channel
  readonly poll: StatusPoll<object>
}

async function askAbout(
  ctx: PollingContext,
  { channel, poll }: Asked,
  polls: readonly Poll[],
): Promise<void> {
  const { database, clock, log } = ctx
  const [{ environment }] = polls as [Poll]
  const used: string[] = []
  const answer = await ask(ctx, { channel, poll }, polls, used)
  const now = clock.now()
  if (answer.kind === 'failed') {
    const details = scrubText(answer.details, used)
    log.warn('a provider could not be asked what became of messages', {
      environment,
      channel: channel.key,
      messages: polls.length,
      details,
    })
  }
  const receipts = answer.kind === 'answered' ? answer.receipts : new Map()
  await database.transaction(async (tx) => {
    const held = await lockPolls(tx, polls)
    const own = polls.filter(({ messageId }) => held.has(messageId))
    const told = own.filter(({ reference }) => receipts.has(reference))
    const reports = told.flatMap(({ messageId, reference }): readonly Report[] => {
      const { fate, ...receipt } = receipts.get(reference)!
      return fate === null ? [] : [{ message: messageId, fate, ...receipt }]
    })
    const by = { method: 'POLL', path: '' }
    await takeReports(tx, { environment, channel, reports, by, secrets: used }, now)
    const wait = answer.kind === 'failed' ? (answer.retryAfterMs ?? 0) : 0
    const again = own.flatMap((one) => {
      const next = poll.waitsMs[one.attempt]
      if (receipts.has(one.reference) || next === undefined) return []
      return [{ ...one, dueAt: new Date(now.getTime() + Math.max(next, wait)) }]
    })
    await postponePolls(tx, again)
    const left = new Set(again.map(({ messageId }) => messageId))
    await deletePolls(
      tx,
      own.filter(({ messageId }) => !left.has(messageId)),
    )
  })
}

async function ask(
  { clock, door, signal, secret }: PollingContext,
  { channel, poll }: Asked,
  polls: readonly Poll[],
  used: string[],
): Promise<StatusAnswer> {
  const [{ environment }] = polls as [Poll]
  const read = (name: string): string => {
    const value = requireSecret(secret, environment, name)
    used.push(value)
    return value
  }
  try {
    return await poll.ask(
      polls.map(({ reference }) => reference),
      {
        settings: withSecrets(channel.settings, read) as object,
        signal: AbortSignal.any([signal, AbortSignal.timeout(ASK_MS_MAX)]),
        now: clock.now(),
        door,
      },
    )
  } catch (error) {
    return { kind: 'failed', details: messageOf(error) }
  }
}
