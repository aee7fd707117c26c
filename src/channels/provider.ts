import type { EnvironmentName, MessageId } from '../ids.ts'
import type { JsonObject } from '../json.ts'
import type { ChannelType, MessageContent } from '../steps/step.ts'
import type { Door } from './door.ts'
import type { DeliveryWebhook } from './report.ts'
import type { StatusPoll } from './status-poll.ts'

/** One message on its way to a provider. */
export interface HandOver<Content extends MessageContent = MessageContent> {
  readonly id: MessageId
  readonly environment: EnvironmentName
  readonly content: Content
  /** From 1. */
  readonly attempt: number
  /** From when on it is worth nothing any more; null or absent: never. */
  readonly expiresAt?: Date | null
  /** What the step lays over the body of this provider's request. */
  readonly overrides?: JsonObject
}

export interface SendContext<Settings> {
  /** Checked against the schema, secrets in place. */
  readonly settings: Settings
  /** Aborted when the time for one hand-over is over, or the process stops. */
  readonly signal: AbortSignal
  readonly now: Date
  /** The only way to the network. */
  readonly door: Door
  /** Where the service can report what becomes of the message; absent where it could not come to us. */
  readonly webhookUrl?: string | undefined
  /** The value of a secret variable of the environment. */
  secret(variable: string): string
}

/**
 * A provider's answer to one hand-over. `throttled` uses up no attempt; `unknown` means that the
 * request may have been taken. Texts and exchange may hold secrets: whoever keeps an answer scrubs it.
 */
export type Answer =
  | {
      readonly kind: 'accepted'
      readonly status: 'sent' | 'delivered'
      readonly reference: string | null
      readonly exchange: Exchange
    }
  | {
      readonly kind: 'rejected'
      /** A word of docs/spec/delivery.md. */
      readonly reason: string
      readonly details: string
      /** Null: refused before anything went out, so the message was not sent. */
      readonly exchange: Exchange | null
    }
  | {
      readonly kind: 'failed'
      readonly details: string
      readonly retryAfterMs?: number
      /** The cause is the channel as a whole, such as its credentials: no other message fares better. */
      readonly channel?: true
      readonly exchange: Exchange | null
    }
  | {
      readonly kind: 'throttled'
      readonly details: string
      readonly retryAfterMs?: number
      readonly exchange: Exchange | null
    }
  /** The address is no more: nothing will ever arrive there. */
  | {
      readonly kind: 'bounced'
      readonly reason: string
      readonly details: string
      readonly exchange: Exchange
    }
  | { readonly kind: 'unknown'; readonly details: string; readonly exchange: Exchange | null }

/** What a provider needs to know of a recipient, beside its properties. */
export type ChannelDataKind = 'devices' | 'subscriptions' | 'connections'

/** What went over the wire, for the delivery log. */
export interface Exchange {
  readonly request: {
    readonly method: string
    readonly host: string
    readonly path: string
    readonly headers: Readonly<Record<string, string>>
    readonly body: unknown
  }
  readonly response: {
    readonly status: number | null
    readonly headers: Readonly<Record<string, string>>
    readonly body: unknown
  } | null
}

/** What a service says about itself; the docs show it. */
export interface ServiceFacts {
  /** Requests in a second that an account may make; null where the service does not say, or each account has its own. */
  readonly perSecond: number | null
  /** Set where the service counts those by what a message goes to, rather than by account. */
  readonly place?: (content: never) => string
  /** Answers behind which no attempt follows, as the service names them. */
  readonly permanent: readonly string[]
  /** What makes a repeated hand-over one message; null where nothing does. */
  readonly idempotency: string | null
  /** How the service tells what became of a message, and how that is signed; null where it does not. */
  readonly reports: string | null
}

/** A service that takes messages of one kind. */
export interface Provider<
  Name extends string,
  Content extends MessageContent,
  Settings extends object,
> {
  readonly name: Name
  readonly type: ChannelType
  readonly summary: string
  /** JSON Schema of `settings`. A property that may be a secret says so with `secretOr`. */
  readonly schema: {
    readonly required: readonly string[]
    readonly properties: Readonly<Record<string, object>>
  }
  readonly example: Required<Settings>
  /** `stored`: the message is delivered when it is in Postgres; there is nothing to hand over. */
  readonly delivery: 'stored' | 'handed_over'
  /** The server that each hand-over connects to; absent where a message names it, or there is none. */
  target?(settings: Settings): { readonly host: string; readonly port: number }
  readonly service: ServiceFacts
  /**
   * What the `overrides` of a step cannot set in its request: whom it goes to, whom it is from, and what we know it by; such
   * as `message.token`, or `h:*` for all that begin so. Null where it takes none.
   */
  readonly overrides: readonly string[] | null
  /** Set where the service calls us to tell what became of messages. */
  readonly webhook?: DeliveryWebhook<Settings>
  /** Set where the service is to be asked what became of messages. */
  readonly poll?: StatusPoll<Settings>
  /** Set for push and chat. */
  readonly channelData?: ChannelDataKind
  /** The contract's word for it, where it has one. */
  readonly wireName?: string
  send(message: HandOver<Content>, context: SendContext<Settings>): Promise<Answer>
}
