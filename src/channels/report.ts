import type { IncomingHttpHeaders } from 'node:http'
import type { ChannelKey, EnvironmentName } from '../ids.ts'
import type { Door } from './door.ts'
import { secretOr, withSecrets } from './secret.ts'
import { isLoopback } from './target.ts'

/**
 * What a service says has become of a message. `gone`: it came back, and its address takes none any more;
 * `returned`: it came back, and the next one may not; `rejected`: the service itself gave it up.
 */
export const FATES = [
  'delivered',
  'gone',
  'returned',
  'rejected',
  'complained',
  'opened',
  'clicked',
] as const
export type Fate = (typeof FATES)[number]

/** What a service tells of one message. Nothing in it has been checked but who sent it. */
export interface Report {
  /** Our id of the message, as the service gives it back. */
  readonly message: unknown
  /** Whom it is about, where the service says so: a mail may have gone to others as well. */
  readonly address?: unknown
  readonly fate: Fate
  /** Why, in the words of the service. */
  readonly details?: unknown
  /** The service's id of the message. */
  readonly reference?: unknown
  /** Where a link led that was clicked. */
  readonly url?: unknown
  /** What the service sent of it, for the log. */
  readonly shown: unknown
}

/** A call of a service. */
export interface WebhookCall {
  /** The URL that the service was given; undefined where nobody is told how to reach us. */
  readonly url: string | undefined
  readonly headers: IncomingHttpHeaders
  /** As it was sent. */
  readonly body: Buffer
}

export interface WebhookContext<Settings> {
  /** Secrets in place; one that is not there is an empty text. */
  readonly settings: Settings
  readonly now: Date
  readonly door: Pick<Door, 'request'>
}

/** Why a call is not believed. */
export type CallProblem =
  | 'no_secret'
  | 'no_public_url'
  | 'unsigned'
  | 'bad_signature'
  | 'bad_timestamp'

export type Received =
  | { readonly kind: 'refused'; readonly problem: CallProblem }
  /** Nothing of it can be read. */
  | { readonly kind: 'malformed'; readonly details: string }
  | {
      readonly kind: 'taken'
      readonly reports: readonly Report[]
      /** What must not come twice, where the signature does not cover what was sent. */
      readonly once?: string
    }

/** How a service calls us to tell what became of messages. */
export interface DeliveryWebhook<Settings> {
  /** The settings that its calls are checked with; one is enough. */
  readonly settings: readonly [string, ...string[]]
  /** Headers without which a call proves nothing, so that its body need not be read. */
  readonly headers: readonly string[]
  receive(call: WebhookCall, context: WebhookContext<Settings>): Received | Promise<Received>
}

/** How long a call may have been on its way whose service repeats it as it was first signed. */
export const REPEATED_MS_MAX = 24 * 60 * 60 * 1000

const SECRETS_MAX = 5

/** The schema of a setting with secrets of which any may have signed: a new one can be added before the old one goes. */
export function secretsOr(schema: object): object {
  const { description, ...value } = schema as { readonly description: string }
  const one = secretOr(value) as { readonly anyOf: readonly object[] }
  const several = { type: 'array', minItems: 1, maxItems: SECRETS_MAX, items: one }
  return { description, anyOf: [...one.anyOf, several] }
}

/** A setting as `secretsOr` describes it. */
export type Secrets = string | readonly string[]

/** The settings of a channel to send with; what only reports are checked with is left as it is, and may not be there. */
export function settingsToSend(
  settings: Readonly<Record<string, unknown>>,
  read: (name: string) => string,
): object {
  const entries = Object.entries(settings)
  return Object.fromEntries(
    entries.map(([key, value]) => [
      key,
      key.startsWith('webhook_') ? value : withSecrets(value, read),
    ]),
  )
}

/** The secrets of such a setting that are there. */
export function secretsIn(setting: Secrets | undefined): readonly string[] {
  return [setting ?? []].flat().filter((secret) => secret !== '')
}

export function refusedCall(problem: CallProblem): Received {
  return { kind: 'refused', problem }
}

/** The reports in a body of JSON; those that are undefined tell nothing that counts here. */
export function readReports(
  body: Buffer,
  read: (value: unknown) => readonly (Report | undefined)[],
): Received {
  const value = parseJson(body)
  if (value === undefined) return MALFORMED
  return { kind: 'taken', reports: read(value).filter((report) => report !== undefined) }
}

export const MALFORMED: Received = { kind: 'malformed', details: 'the body is not JSON in UTF-8' }

/** The JSON in a body; undefined where it is none. */
export function parseJson(body: Buffer | string): unknown {
  try {
    const text =
      typeof body === 'string' ? body : new TextDecoder('utf-8', { fatal: true }).decode(body)
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

/** Where the service of a channel reports to. */
export function webhookPath(environment: string, channel: string): string {
  return `/hooks/channels/${environment}/${channel}`
}

/** As `webhookPath`, as a service can be told it; undefined where it could not come to us. */
export function webhookUrl(
  publicUrl: string | undefined,
  environment: EnvironmentName,
  channel: ChannelKey,
): string | undefined {
  if (publicUrl === undefined || !URL.canParse(publicUrl)) return undefined
  const host = new URL(publicUrl).hostname.replace(/^\[|\]$/g, '')
  // Services refuse a message that names such a place for its reports.
  if (host === 'localhost' || isLoopback(host)) return undefined
  return `${publicUrl}${webhookPath(environment, channel)}`
}
