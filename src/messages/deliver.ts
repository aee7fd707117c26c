import { contentSecrets } from '../channels/channel-data.ts'
import { scrubExchange, scrubText } from '../channels/exchange.ts'
import type { Door } from '../channels/door.ts'
import type { Answer } from '../channels/provider.ts'
import { settingsToSend, webhookUrl } from '../channels/report.ts'
import { requireSecret, secretNames, type FindSecret } from '../channels/secret.ts'
import { sendThrough } from '../channels/send-through.ts'
import type { Clock } from '../clock.ts'
import type { Database, Transaction } from '../db/database.ts'
import { messageOf, TerminalFailure } from '../errors.ts'
import { noMetrics } from '../metrics.ts'
import type { Metrics } from '../metrics.ts'
import type { EnvironmentName, MessageId, ProcessId } from '../ids.ts'
import type { MessageContent } from '../steps/step.ts'
import type { Channel, EnvironmentSettings } from '../workflow/environment.ts'
import { forgetsDevices } from './bounce-store.ts'
import { claim, claimedAs, judge, laneOf, providerOf } from './claim.ts'
import type { Claims, DeliverJob, Recheck } from './claim.ts'
import { loadFacts } from './delivery-store.ts'
import type { ClaimRef, DueMessage, Facts } from './delivery-store.ts'
import { Lanes } from './lanes.ts'
import { settle, settleHeldBack, settleReleased, settleUnsent } from './message.ts'
import type { Settlement } from './message.ts'
import { watchChannel } from './refusals.ts'
import type { Alerts } from './refusals.ts'
import { openSettler, type Ending, type Settler } from './settler.ts'
import { addressOf, suppresses } from './suppressions.ts'

export interface DeliveryOptions {
  readonly database: Database
  readonly clock: Clock
  /** Its lease must beat, see leases.ts. */
  readonly process: ProcessId
  readonly door: Door
  /** Aborted when the process stops: what is under way ends as unknown, what has not begun goes back. */
  readonly signal: AbortSignal
  /** The value of a secret of an environment; undefined where there is none. */
  readonly secret: FindSecret
  readonly log: Alerts
  /** Asked about messages that were held for over a minute; all may go when left out. */
  readonly recheck?: Recheck
  /** Where hand-overs are measured; nowhere when left out. */
  readonly metrics?: Metrics
  /** Where services can report to us; nowhere when left out. */
  readonly publicUrl?: string | undefined
  /** From 0 to 1. */
  readonly random?: () => number
}

export interface DeliveryContext extends Required<DeliveryOptions> {
  readonly lanes: Lanes
  readonly settler: Settler
  /** Channels that this process has seen refused, by lane, and when one message may try again. */
  readonly refused: Map<string, Date>
  /** What is being worked on: a claim of this process for another message is one that it does not know of. */
  readonly jobs: Set<DeliverJob>
}

/** How many hand-overs one process has under way, in all and through one channel. */
const HANDOVERS_MAX = 100
const HANDOVERS_PER_CHANNEL_MAX = 10
/** For one hand-over, whatever its provider does. */
const HANDOVER_MS_MAX = 30_000
/** What a provider may take to notice that its time is over. */
const GRACE_MS = 1_000
/** The age of the facts up to which they are believed: together with one query well below a second. */
const FACTS_MS_MAX = 300

/** What the hand-overs of one process share. */
export function openDelivery(options: DeliveryOptions): DeliveryContext {
  return {
    ...options,
    random: options.random ?? Math.random,
    metrics: options.metrics ?? noMetrics,
    publicUrl: options.publicUrl,
    recheck: options.recheck ?? (async () => new Map()),
    lanes: new Lanes({ total: HANDOVERS_MAX, perLane: HANDOVERS_PER_CHANNEL_MAX }),
    settler: openSettler(options),
    refused: new Map(),
    jobs: new Set(),
  }
}

/**
 * Hands over those messages of the job that are due: claims them in one commit, in which `complete`
 * also ends the job; hands them to their providers outside any transaction; and settles each.
 * Resolves when all are settled. A message that is not due, or another's, is left alone.
 */
export async function deliver(
  ctx: DeliveryContext,
  job: DeliverJob,
  complete?: (tx: Transaction) => Promise<void>,
): Promise<void> {
  ctx.jobs.add(job)
  try {
    await claimAndHandOver(ctx, job, complete)
  } finally {
    ctx.jobs.delete(job)
  }
}

async function claimAndHandOver(
  ctx: DeliveryContext,
  job: DeliverJob,
  complete?: (tx: Transaction) => Promise<void>,
): Promise<void> {
  const claims = await ctx.database.transaction(async (tx) => {
    const claimed = await claim(ctx, tx, job, ctx.clock.now())
    await complete?.(tx)
    return claimed
  })
  if (!claims) return
  // What Postgres has just said of a channel is newer than what this process remembers.
  for (const { channel, probeAt } of claims.messages) {
    if (probeAt === null) ctx.refused.delete(laneOf(claims.environment, channel))
  }
  await Promise.all(
    claims.messages.map((message) =>
      ctx.lanes.run(laneOf(claims.environment, message.channel), () =>
        handOver(ctx, claims, message),
      ),
    ),
  )
}

async function handOver(ctx: DeliveryContext, claims: Claims, message: DueMessage): Promise<void> {
  const channel = claims.settings.channels[message.channel]!
  const claimed = claimedAs(message, channel.on_ambiguous)
  const ref = { environment: claims.environment, id: message.id, attempt: claimed.attempt }
  const end = (decide: (cancelled: boolean) => Settlement) =>
    ctx.settler.settle({ claim: ref, decide, delivery: null })
  const options = () => ({ now: ctx.clock.now(), random: ctx.random() })
  const facts = await freshFacts(ctx, claims, message.id)
  // Another process took it for lost: it is not ours to hand over.
  if (facts === undefined) return
  const reason = facts === 'unreadable' ? undefined : judge(facts)
  if (reason !== undefined) return await end(() => settleUnsent(claimed, reason))
  const probeAt = facts === 'unreadable' ? undefined : heldBackUntil(ctx, claims, message, facts)
  if (probeAt !== undefined) {
    const wait = { probeAt, details: 'the service refuses the channel' }
    return await end((cancelled) => settleHeldBack({ ...claimed, cancelled }, wait, options()))
  }
  if (facts === 'unreadable' || ctx.signal.aborted) {
    return await end((cancelled) =>
      cancelled ? settleUnsent(claimed, 'cancelled') : settleReleased(claimed, options()),
    )
  }
  const elapsed = ctx.metrics.stopwatch()
  const { content, expiresAt } = message
  const sent = await send(ctx, { ...ref, content, expiresAt }, channel, claims.settings)
  const { kind: outcome } = sent
  ctx.metrics.observe('delivery_seconds', { channel: channel.type, outcome }, elapsed())
  const answer = await watchChannel(ctx, claims, message, sent)
  const at = ctx.clock.now()
  await ctx.settler.settle({
    claim: ref,
    decide: (cancelled) => settle({ ...claimed, cancelled }, answer, options()),
    delivery: answer.exchange && {
      ...ref,
      service: channel.provider,
      exchange: answer.exchange,
      at,
    },
    ...(answer.kind === 'bounced' && endOfAddress(ref, channel, message, answer)),
    ...(answer.kind === 'accepted' && pollOf(ref, channel, answer, at)),
  })
}

/** When the service is asked about what it has taken. */
function pollOf(
  { environment, id }: ClaimRef,
  channel: Channel,
  { reference }: Answer & { readonly kind: 'accepted' },
  now: Date,
): Pick<Ending, 'poll'> {
  const [wait] = providerOf(channel)?.poll?.waitsMs ?? []
  if (wait === undefined || reference === null) return {}
  const dueAt = new Date(now.getTime() + wait)
  return { poll: { environment, messageId: id, channel: channel.key, reference, dueAt } }
}

/** What is done about an address that is no more. */
function endOfAddress(
  ref: ClaimRef,
  channel: Channel,
  { content }: DueMessage,
  { details }: Answer & { readonly kind: 'bounced' },
): Pick<Ending, 'forget' | 'suppress'> {
  if (forgetsDevices(channel)) return { forget: true }
  const address = suppresses(channel) ? addressOf(content) : undefined
  if (address === undefined) return {}
  const { environment, id: messageId } = ref
  const suppress = { environment, channel: channel.key, address, messageId, details }
  return { suppress: { ...suppress, reason: 'bounced' } }
}

/** When a message comes back whose channel was refused since it was claimed; undefined where none was, or it tries. */
function heldBackUntil(
  ctx: DeliveryContext,
  claims: Claims,
  message: DueMessage,
  facts: Facts,
): Date | undefined {
  if (claims.probes.has(message.id)) return undefined
  return facts.probeAt ?? ctx.refused.get(laneOf(claims.environment, message.channel))
}

/**
 * What holds for the message now. Facts older than `FACTS_MS_MAX` are read again, in one query for
 * all that wait, so that no hand-over starts later than a second after a switch was turned.
 */
async function freshFacts(
  ctx: DeliveryContext,
  claims: Claims,
  id: MessageId,
): Promise<Facts | 'unreadable' | undefined> {
  while (ctx.clock.now().getTime() - claims.readAt > FACTS_MS_MAX) {
    claims.reading ??= readFacts(ctx, claims).finally(() => {
      claims.reading = undefined
    })
    try {
      await claims.reading
    } catch (error) {
      ctx.log.warn('hand-overs wait: the switches cannot be read', { error: messageOf(error) })
      return 'unreadable'
    }
    if (ctx.signal.aborted) break
  }
  return claims.facts.get(id)
}

async function readFacts(ctx: DeliveryContext, claims: Claims): Promise<void> {
  const now = ctx.clock.now()
  const facts = await loadFacts(ctx.database, {
    environment: claims.environment,
    ids: claims.messages.map(({ id }) => id),
    process: ctx.process,
    now,
  })
  // The age counts from before the query: a switch turned while it ran may be missing in its answer.
  claims.readAt = now.getTime()
  claims.facts = new Map(facts.map((fact) => [fact.id, fact]))
}

interface Sending {
  readonly environment: EnvironmentName
  readonly id: MessageId
  readonly attempt: number
  readonly content: MessageContent
  readonly expiresAt: Date | null
}

/** Calls the provider within its time, and takes the secrets out of what it answers. */
async function send(
  ctx: DeliveryContext,
  message: Sending,
  channel: Channel,
  settings: EnvironmentSettings,
): Promise<Answer> {
  const used = [...contentSecrets(message.content)]
  const read = (name: string): string => {
    const value = requireSecret(ctx.secret, message.environment, name)
    used.push(value)
    return value
  }
  let isFilled = false
  try {
    const filled = settingsToSend(channel.settings, read)
    isFilled = true
    const secret = (variable: string) => read(secretNameOf(settings, variable))
    const signal = AbortSignal.any([ctx.signal, AbortSignal.timeout(HANDOVER_MS_MAX)])
    const sending = sendThrough(providerOf(channel)!, message, {
      settings: filled,
      signal,
      now: ctx.clock.now(),
      door: ctx.door,
      secret,
      webhookUrl: webhookUrl(ctx.publicUrl, message.environment, channel.key),
    })
    return scrubbed(await inTime(sending, signal), used)
  } catch (error) {
    const details = scrubText(messageOf(error), used)
    if (error instanceof TerminalFailure) {
      // A channel that lacks a secret fails for every message.
      return { kind: 'failed', details, exchange: null, ...(!isFilled && { channel: true }) }
    }
    // A fault of ours: nobody knows how far it came.
    ctx.log.warn('a provider failed in an unforeseen way', { provider: channel.provider, details })
    return { kind: 'unknown', details, exchange: null }
  }
}

function secretNameOf(settings: EnvironmentSettings, variable: string): string {
  const value = settings.variables[variable]
  const [name] = value === undefined ? [] : secretNames(value)
  if (name === undefined) throw new TerminalFailure(`the variable ${variable} is not a secret`)
  return name
}

/** The answer, or `unknown` when the provider does not notice that its time is over. */
async function inTime(sending: Promise<Answer>, signal: AbortSignal): Promise<Answer> {
  const { promise, resolve } = Promise.withResolvers<Answer>()
  const late = { kind: 'unknown', details: 'no answer in time', exchange: null } as const
  let timer: NodeJS.Timeout | undefined
  const abort = () => {
    timer = setTimeout(() => resolve(late), GRACE_MS)
  }
  signal.addEventListener('abort', abort, { once: true })
  try {
    return await Promise.race([sending, promise])
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', abort)
  }
}

function scrubbed(answer: Answer, secrets: readonly string[]): Answer {
  const exchange = answer.exchange && scrubExchange(answer.exchange, secrets)
  if (answer.kind === 'accepted') {
    const reference = answer.reference === null ? null : scrubText(answer.reference, secrets)
    return { ...answer, reference, exchange: exchange ?? answer.exchange }
  }
  const details = scrubText(answer.details, secrets)
  if (answer.kind === 'bounced') {
    return { ...answer, details, exchange: exchange ?? answer.exchange }
  }
  return { ...answer, details, exchange }
}
