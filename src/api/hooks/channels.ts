import type { Door } from '../../channels/door.ts'
import type { CallProblem, DeliveryWebhook, Received } from '../../channels/report.ts'
import { refusedCall, webhookPath } from '../../channels/report.ts'
import { secretNames, withSecrets } from '../../channels/secret.ts'
import { DoorError } from '../../channels/target.ts'
import type { Clock } from '../../clock.ts'
import { RequestError } from '../../errors.ts'
import type { ChannelKey, EnvironmentName } from '../../ids.ts'
import type { Log } from '../../log.ts'
import { providerOf } from '../../messages/claim.ts'
import { loadEnvironment } from '../../messages/environments.ts'
import { isFirstTime, takeReports } from '../../messages/report-store.ts'
import { noMetrics, type Metrics } from '../../metrics.ts'
import type { Channel } from '../../workflow/environment.ts'
import { ok, type Reply, type SignedRequest, type SignedRoute } from '../route.ts'
import { component, count, flag } from '../shapes/shape.ts'
import { sparingly } from './journal.ts'

/** Of one call. Services send less; the bound also holds before anything is proved. */
const BYTES_MAX = 1024 * 1024
const BODY_MS_MAX = 10_000

/** What taking reports of providers needs beside the request, and what became of them. */
export interface ChannelHooks {
  /** For what has to be asked to believe a call. */
  readonly door: Pick<Door, 'request'>
  /** Where services find us; undefined where nobody is told. */
  readonly publicUrl: string | undefined
  /** Counts a call for a channel that is there, and tells the log of the refused ones, once a minute at most. */
  note(channel: HookedChannel, outcome: ReportOutcome): void
}

interface HookedChannel {
  readonly environment: EnvironmentName
  readonly channel: Channel
}

type ReportOutcome = 'taken' | 'duplicate' | 'malformed' | CallProblem

interface Options extends Pick<ChannelHooks, 'door' | 'publicUrl'> {
  readonly clock: Clock
  readonly log: Pick<Log, 'warn'>
  readonly metrics?: Metrics
}

export function openChannelHooks({
  clock,
  log,
  metrics = noMetrics,
  ...rest
}: Options): ChannelHooks {
  const isTime = sparingly(clock)
  return {
    ...rest,
    note({ environment, channel }, outcome) {
      const { provider, key } = channel
      metrics.count('webhook_total', { provider, result: outcome })
      if (outcome === 'taken' || outcome === 'duplicate') return
      if (!isTime(`${environment}/${key} ${outcome}`)) return
      const fields = { environment, channel: key, provider, reason: outcome }
      log.warn('a report of a provider was refused', fields)
    },
  }
}

const Taken = component(
  'ReportsTaken',
  { duplicate: flag, reports: count, changed: count },
  { optional: ['duplicate'] },
)

/**
 * Takes what a provider reports of a channel's messages. Who cannot prove that it is that provider learns nothing: not
 * which environments and channels there are, nor what is wrong with the proof.
 */
export const channelHook: SignedRoute = {
  id: 'hooks.channel',
  summary: 'Takes what a provider reports of the messages of a channel',
  replies: { 200: Taken },
  kind: 'signed',
  method: 'POST',
  path: webhookPath(':environment', ':channel'),
  bounds: { bytesMax: BYTES_MAX, msMax: BODY_MS_MAX },
  reads: ['application/json', 'application/x-www-form-urlencoded'],
  async handle(request) {
    const hooks = request.services.channelHooks
    const hooked = await findHooked(request)
    if (!hooks || !hooked) throw unproven()
    const received = await receive(request, hooks, hooked)
    if (received.kind === 'refused') {
      hooks.note(hooked, received.problem)
      throw unproven()
    }
    if (received.kind === 'malformed') {
      hooks.note(hooked, 'malformed')
      throw new RequestError(400, 'invalid_json', received.details)
    }
    return await take(request, hooks, hooked, received)
  },
}

interface Hooked extends HookedChannel {
  readonly webhook: DeliveryWebhook<object>
}

/** The channel that the path names, if its provider reports at all. */
async function findHooked({ params, database }: SignedRequest): Promise<Hooked | undefined> {
  const environment = params['environment'] as EnvironmentName
  const key = params['channel'] as ChannelKey
  const { channels = {} } = (await loadEnvironment(database, environment))?.settings ?? {}
  const channel = Object.hasOwn(channels, key) ? channels[key] : undefined
  const webhook = channel && providerOf(channel)?.webhook
  return webhook && { environment, channel, webhook }
}

/** What the provider's own file makes of the call. Nothing of it is parsed before it has proved who sent it. */
async function receive(
  { url, headers, readBody, now, services }: SignedRequest,
  { door, publicUrl }: ChannelHooks,
  { environment, channel, webhook }: Hooked,
): Promise<Received> {
  const read = (name: string) => services.findSecret?.(environment, name) ?? ''
  const settings = withSecrets(channel.settings, read) as Readonly<Record<string, unknown>>
  if (!webhook.settings.some((name) => isSet(settings[name]))) return refusedCall('no_secret')
  if (webhook.headers.some((name) => !headers[name])) return refusedCall('unsigned')
  const call = { url: publicUrl === undefined ? undefined : publicUrl + url, headers }
  try {
    return await webhook.receive({ ...call, body: await readBody() }, { settings, now, door })
  } catch (error) {
    if (!(error instanceof DoorError)) throw error
    // Whoever is not answered calls again.
    throw new RequestError(503, 'service_unreachable', error.message)
  }
}

function isSet(setting: unknown): boolean {
  return [setting ?? []].flat().some((one) => one !== '')
}

async function take(
  { database, params, services, now }: SignedRequest,
  hooks: ChannelHooks,
  hooked: Hooked,
  { reports, once }: Received & { readonly kind: 'taken' },
): Promise<Reply> {
  const { environment, channel } = hooked
  const { channel: key = '' } = params
  const secrets = secretNames(channel.settings).flatMap(
    (name) => services.findSecret?.(environment, name) ?? [],
  )
  const by = { method: 'POST', path: webhookPath(environment, key) }
  const reporting = { environment, channel, reports, by, secrets }
  const changed = await database.transaction(async (tx) => {
    if (once !== undefined && !(await isFirstTime(tx, reporting, once, now))) return undefined
    return await takeReports(tx, reporting, now)
  })
  hooks.note(hooked, changed === undefined ? 'duplicate' : 'taken')
  if (changed === undefined) return ok({ duplicate: true, reports: reports.length, changed: 0 })
  return ok({ reports: reports.length, changed })
}

function unproven(): RequestError {
  const message = 'the call is not signed as one of the provider of this channel'
  return new RequestError(401, 'webhook_signature', message)
}
