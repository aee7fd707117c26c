import { createHash } from 'node:crypto'
import { isProviderName, providers } from '../channels/index.ts'
import type { Provider, ServiceFacts } from '../channels/provider.ts'
import type { Transaction } from '../db/database.ts'
import type { ChannelKey, EnvironmentName, MessageId, ProcessId } from '../ids.ts'
import type { MessageContent } from '../steps/step.ts'
import type { Channel, EnvironmentSettings } from '../workflow/environment.ts'
import { claimMessages, lockDueMessages, saveSettlements } from './delivery-store.ts'
import type { DueMessage, Facts } from './delivery-store.ts'
import { loadEnvironment } from './environments.ts'
import { settleHeldBack, settleOverdue, settleUnsent, THROTTLE_MS_MAX } from './message.ts'
import type { Claimed, MessageReason, Settlement } from './message.ts'
import { postponeMessages, reserveHandOvers, takeProbes } from './pace-store.ts'
import type { Postponed } from './pace-store.ts'
import { findSuppressed } from './suppressions.ts'

/**
 * Says which of these messages must not be handed over although they were made to be, since their recipients do
 * not want them any more, with what their events say of it.
 */
export type Recheck = (
  tx: Transaction,
  held: {
    readonly environment: EnvironmentName
    readonly ids: readonly MessageId[]
    readonly now: Date
  },
) => Promise<Refused>

type Refused = ReadonlyMap<MessageId, Readonly<Record<string, unknown>>>

export interface ClaimContext {
  readonly process: ProcessId
  readonly recheck: Recheck
  readonly random: () => number
}

/** The payload of a `deliver` job. */
export interface DeliverJob {
  /** The channel, by which the queue lets others through. */
  readonly lane?: string
  readonly environment: EnvironmentName
  readonly messageIds: readonly MessageId[]
}

/** What a process has claimed. */
export interface Claims {
  readonly environment: EnvironmentName
  readonly settings: EnvironmentSettings
  readonly messages: readonly DueMessage[]
  /** Those that try whether a channel that was refused is mended. */
  readonly probes: ReadonlySet<MessageId>
  /** When the facts were read, and what they say about those that are still this process's. */
  readAt: number
  facts: ReadonlyMap<MessageId, Facts>
  reading: Promise<void> | undefined
}

/** What waits longer before its hand-over is asked about again. */
const HELD_MS = 60_000
/** A hand-over that was given to a message and not used for so long is another's by now. */
const RESERVED_MS_MAX = 5_000
/** After this time, up to twice as long, a message asks again whose channel has given its whole next day away. */
const ASK_AGAIN_MS = 1_800_000

/**
 * Claims those of the job that are due and may be handed over now. What must not be sent is settled, and what
 * its channel has no room for, or is refused, comes later. Undefined where nothing is left.
 */
export async function claim(
  ctx: ClaimContext,
  tx: Transaction,
  { environment, messageIds }: DeliverJob,
  now: Date,
): Promise<Claims | undefined> {
  const due = await lockDueMessages(tx, environment, messageIds, now)
  if (due.length === 0) return undefined
  const settings = (await loadEnvironment(tx, environment))?.settings
  const willing = await settleUnwanted(ctx, tx, { environment, due, settings, now })
  if (willing.length === 0 || !settings) return undefined
  const { go, probes } = await pace(ctx, tx, { environment, messages: willing, settings, now })
  if (go.length === 0) return undefined
  const ids = go.map(({ id }) => id)
  await claimMessages(tx, environment, ids, { process: ctx.process, now })
  return {
    environment,
    settings,
    messages: go,
    probes,
    readAt: now.getTime(),
    facts: new Map(go.map((message) => [message.id, message])),
    reading: undefined,
  }
}

interface Due {
  readonly environment: EnvironmentName
  readonly due: readonly DueMessage[]
  readonly settings: EnvironmentSettings | undefined
  readonly now: Date
}

/** Settles those that must not be sent, and answers the others. */
async function settleUnwanted(
  ctx: ClaimContext,
  tx: Transaction,
  { environment, due, settings, now }: Due,
): Promise<readonly DueMessage[]> {
  const facts = due.map((message) => ({
    message,
    reason: judge(message) ?? judgeChannel(message, settings),
  }))
  const held = facts.filter(({ message, reason }) => reason === undefined && isHeld(message, now))
  const ids = held.map(({ message }) => message.id)
  const refused: Refused =
    ids.length === 0 ? new Map() : await ctx.recheck(tx, { environment, ids, now })
  const open = facts.flatMap(({ message, reason }) => (reason === undefined ? [message] : []))
  const suppressed = await findSuppressed(tx, environment, { messages: open, settings })
  const judged = facts.map(({ message, reason }) => {
    const gone = suppressed.get(message.id)
    if (gone) return { message, reason: 'suppressed' as const, details: gone }
    const details = refused.get(message.id)
    return { message, reason: details ? ('preferences' as const) : reason, details }
  })
  const unsent = judged.flatMap(({ message, reason, details }) =>
    // Judged before it is claimed, so there is no attempt to give back.
    reason === undefined
      ? []
      : [{ ...settleUnsent(claimedAs(message, 'retry'), reason, details), id: message.id }],
  )
  await saveAll(tx, environment, unsent, now)
  return judged.flatMap(({ message, reason }) => (reason === undefined ? [message] : []))
}

interface Wish {
  readonly environment: EnvironmentName
  readonly messages: readonly DueMessage[]
  readonly settings: EnvironmentSettings
  readonly now: Date
}

interface Paced {
  readonly go: readonly DueMessage[]
  readonly probes: ReadonlySet<MessageId>
}

/** Puts off what its channel does not take now, in a fixed number of statements. */
async function pace(ctx: ClaimContext, tx: Transaction, wish: Wish): Promise<Paced> {
  const { environment, now } = wish
  const { open, probes, heldBack } = await pickProbes(tx, wish)
  const { go, later, overdue } = await paceByRate(tx, { ...wish, messages: open }, ctx.random)
  const back = heldBack.map((message) => heldBackFrom(ctx, message, now))
  const ended = back.filter(({ dueAt }) => dueAt === null)
  await saveAll(tx, environment, [...ended, ...overdue], now)
  const postponed = [
    ...back.flatMap(({ dueAt, ...one }) => (dueAt ? [{ ...one, dueAt, reservedAt: null }] : [])),
    ...later,
  ]
  if (postponed.length > 0) await postponeMessages(tx, environment, postponed, now)
  return { go, probes }
}

function heldBackFrom({ random }: ClaimContext, message: DueMessage, now: Date) {
  const wait = { probeAt: message.probeAt ?? now, details: 'the service refuses the channel' }
  const options = { now, random: random() }
  return { ...settleHeldBack(claimedAs(message, 'retry'), wait, options), id: message.id }
}

/** Of each channel that is refused and may be tried again, one message tries it. */
async function pickProbes(tx: Transaction, { environment, messages, now }: Wish) {
  const refused = messages.filter(({ probeAt }) => probeAt !== null)
  const ready = refused.filter(({ probeAt }) => probeAt! <= now).map(({ channel }) => channel)
  const taken =
    ready.length === 0 ? [] : await takeProbes(tx, environment, [...new Set(ready)], now)
  const first = taken.map((channel) => refused.find((message) => message.channel === channel)!.id)
  const probes = new Set(first)
  const isOpen = ({ id, probeAt }: DueMessage) => probeAt === null || probes.has(id)
  return {
    probes,
    open: messages.filter(isOpen),
    heldBack: messages.filter((message) => !isOpen(message)),
  }
}

interface ByRate {
  readonly go: readonly DueMessage[]
  readonly later: readonly Postponed[]
  readonly overdue: readonly (Settlement & { readonly id: MessageId })[]
}

/** Those that the rates of their channels leave room for in this second, and when the others are due. */
async function paceByRate(
  tx: Transaction,
  { environment, messages, settings, now }: Wish,
  random: () => number,
): Promise<ByRate> {
  const rated = messages.flatMap((message) => {
    const rate = rateOf(message, settings)
    return rate === undefined || isReserved(message, now) ? [] : [{ message, ...rate }]
  })
  if (rated.length === 0) return { go: messages, later: [], overdue: [] }
  const groups = Map.groupBy(rated, ({ message, place }) => `${message.channel}/${place}`)
  const wanted = [...groups.values()].map((group) => {
    const { message, place, perSecond } = group[0]!
    return { channel: message.channel, place, count: group.length, perSecond }
  })
  const given = await reserveHandOvers(tx, environment, wanted, now)
  const firstAt = new Map(given.map((one) => [`${one.channel}/${one.place}`, one.firstAt]))
  const turns = [...groups].flatMap(([key, group]) =>
    group.map(({ message, perSecond }, index) => {
      const first = firstAt.get(key)
      const at = first && secondOf(first.getTime() + (index * 1_000) / perSecond)
      return { message, at }
    }),
  )
  const put = turns.filter(({ at }) => at === undefined || at > now)
  const isOver = ({ message, at }: Turn) =>
    at === undefined && now.getTime() - message.plannedAt.getTime() >= THROTTLE_MS_MAX
  const ids = new Set(put.map(({ message }) => message.id))
  return {
    go: messages.filter(({ id }) => !ids.has(id)),
    later: put.filter((turn) => !isOver(turn)).map((turn) => putOff(turn, now, random())),
    overdue: put
      .filter(isOver)
      .map(({ message }) => ({ ...settleOverdue(claimedAs(message, 'retry')), id: message.id })),
  }
}

interface Turn {
  readonly message: DueMessage
  /** Undefined where the whole next day is given away. */
  readonly at: Date | undefined
}

/** A message without a turn asks again later, and for the last time when its day is over. */
function putOff({ message, at }: Turn, now: Date, random: number): Postponed {
  const again = now.getTime() + ASK_AGAIN_MS * (1 + random)
  const last = message.plannedAt.getTime() + THROTTLE_MS_MAX
  const dueAt = at ?? new Date(Math.min(again, last))
  return { id: message.id, dueAt, reservedAt: at ?? null, reason: null, happenings: [] }
}

/** The second that a time lies in; one that is a rounding error short of the next belongs to that. */
function secondOf(ms: number): Date {
  return new Date(Math.floor((ms + 0.5) / 1_000) * 1_000)
}

function isReserved({ reservedAt }: DueMessage, now: Date): boolean {
  return reservedAt !== null && now.getTime() - reservedAt.getTime() <= RESERVED_MS_MAX
}

/** How many hand-overs in a second the service takes, and by what it counts them. */
function rateOf(
  { channel: key, content }: DueMessage,
  settings: EnvironmentSettings,
): { readonly perSecond: number; readonly place: string } | undefined {
  const service: ServiceFacts | undefined = providerOf(settings.channels[key]!)?.service
  if (!service || service.perSecond === null) return undefined
  const named = service.place?.(content as never)
  // What it is counted by may hold a token or a secret URL.
  const place = named === undefined ? '' : createHash('sha256').update(named).digest('base64url')
  return { perSecond: service.perSecond, place }
}

async function saveAll(
  tx: Transaction,
  environment: EnvironmentName,
  settled: readonly (Settlement & { readonly id: MessageId })[],
  now: Date,
): Promise<void> {
  if (settled.length === 0) return
  await saveSettlements(
    tx,
    settled.map((one) => ({ ...one, environment })),
    now,
  )
}

function isHeld({ insertedAt }: DueMessage, now: Date): boolean {
  return now.getTime() - insertedAt.getTime() > HELD_MS
}

/** Why a message must not be handed over now, as far as its facts say. */
export function judge(facts: Facts): MessageReason | undefined {
  if (facts.cancelled) return 'cancelled'
  if (!facts.recipientKnown) return 'recipient_deleted'
  if (facts.archived) return 'workflow_archived'
  if (facts.inactive) return 'workflow_inactive'
  if (facts.expired) return 'expired'
  return undefined
}

function judgeChannel(
  message: DueMessage,
  settings: EnvironmentSettings | undefined,
): MessageReason | undefined {
  const channel = settings?.channels[message.channel]
  const provider = channel && providerOf(channel)
  if (!provider || provider.type !== message.channelType) return 'channel_missing'
  if (provider.delivery === 'stored') return 'channel_missing'
  return channel.sandbox ? 'sandbox' : undefined
}

/** What hands over for the channel; undefined where this version has no such provider. */
export function providerOf(channel: Channel): Provider<string, MessageContent, object> | undefined {
  if (!isProviderName(channel.provider)) return undefined
  return providers[channel.provider]
}

/** The message as it is once claimed. */
export function claimedAs(message: DueMessage, onAmbiguous: 'retry' | 'hold'): Claimed {
  const { status, reason, plannedAt, cancelled, ambiguous } = message
  const attempt = message.attempt + 1
  return { attempt, status, reason, plannedAt, cancelled, ambiguous, onAmbiguous }
}

/** The channel of a message as a key of its own among all environments. */
export function laneOf(environment: EnvironmentName, channel: ChannelKey): string {
  return `${environment}/${channel}`
}
