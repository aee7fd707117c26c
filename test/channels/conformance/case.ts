import { simpleParser } from 'mailparser'
import { expect } from 'vitest'
import { sendThrough } from '../../../src/channels/send-through.ts'
import type { Answer, Provider, SendContext } from '../../../src/channels/provider.ts'
import type { Door } from '../../../src/channels/door.ts'
import type { EnvironmentName, MessageId } from '../../../src/ids.ts'
import type { JsonObject } from '../../../src/json.ts'
import type { MessageContent } from '../../../src/steps/step.ts'
import type { HttpFake, Responder, TakenRequest } from '../../support/http.ts'

/** What a fake of the service answers with. */
export interface FakeAnswer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: unknown
}

/** One provider, as the conformance suite needs to know it. */
export interface Case<Content extends MessageContent = MessageContent, Settings = object> {
  readonly provider: Provider<string, Content, Settings & object>
  /** Another way to reach the same service: what the provider declares is held to its first case. */
  readonly variant?: string
  readonly content: (url: string) => Content
  readonly settings: (url: string) => Settings
  /** Contents that must not go out. */
  readonly unsafe?: readonly Content[]
  /** Texts that must not stand in any log. */
  readonly secrets: readonly string[]
  /** What the request looks like; its body as it is compared with. */
  readonly request: object
  readonly body?: (request: TakenRequest) => unknown
  /** What a step may lay over the request, and what its body then has. */
  readonly overrides?: { readonly given: JsonObject; readonly body: object }
  readonly accepted: FakeAnswer
  readonly reference: string | null
  /** By the words of the provider's own declaration. */
  readonly permanent: Readonly<Record<string, FakeAnswer>>
  /** Settings that fit their schema and with which nothing can be sent. */
  readonly unusable?: readonly object[]
  /** Refused credentials; none where the service cannot say so. */
  readonly channel?: FakeAnswer
  /** Its own ways to ask for a later time, beside 429 and 503. */
  readonly throttled?: readonly FakeAnswer[]
  /** Ways to say that the address is no more. */
  readonly bounced?: readonly FakeAnswer[]
  /** What a repeated request shares with the first; undefined where the service offers nothing. */
  readonly key?: (request: TakenRequest) => unknown
  /** The fake, where it is not a plain HTTP server. */
  readonly start?: (respond: Responder) => Promise<HttpFake>
  /** Answers requests that come before the message, such as for a token. */
  readonly before?: (request: TakenRequest) => FakeAnswer | undefined
  /** The status of an accepted message; `sent` unless told. */
  readonly status?: 'sent' | 'delivered'
}

/** The signature of a request to AWS, by what it says that it is good for. */
export function awsScope(region: string, service: string): string {
  const scope = `/20300102/${region}/${service}/aws4_request, `
  return expect.stringContaining(scope) as string
}

export const now = new Date('2030-01-02T03:04:05Z')
export const id = '0190a0b0-0000-7000-8000-000000000001' as MessageId

/** Where the services of the suite report to. */
export const WEBHOOK_URL = 'https://belfry.example.com/hooks/channels/production/main'

/** Hands the message of `one` over to what listens at `url`. */
export async function handOver(
  one: Case,
  url: string,
  {
    door,
    signal = AbortSignal.timeout(5_000),
    overrides,
  }: { door: Door; signal?: AbortSignal; overrides?: JsonObject },
): Promise<Answer> {
  const context: SendContext<object> = {
    settings: one.settings(url),
    signal,
    now,
    door,
    secret: () => '',
    webhookUrl: WEBHOOK_URL,
  }
  const message = {
    id,
    environment: 'production' as EnvironmentName,
    attempt: 1,
    content: {
      ...one.content(url),
      // Those of another provider are not its own.
      ...(overrides && { overrides: { [one.provider.name]: overrides, other: { a: 1 } } }),
    },
  }
  return await sendThrough(one.provider, message, context)
}

/** A case of its own types, as the suite takes all of them. */
export function aCase<Content extends MessageContent, Settings extends object>(
  one: Case<Content, Settings>,
): Case {
  return one
}

/** The body of a request, read as JSON. */
export function jsonBody({ body }: TakenRequest): unknown {
  return JSON.parse(body)
}

/** The body of a request, read as a form. */
export function formBody({ body }: TakenRequest): unknown {
  return Object.fromEntries(new URLSearchParams(body))
}

/** The body of a request to SES, with the mail in it as a mail program reads it. */
export async function mailBody(request: TakenRequest): Promise<object> {
  const body = JSON.parse(request.body) as { readonly Content: { readonly Raw: { Data: string } } }
  const mail = await simpleParser(Buffer.from(body.Content.Raw.Data, 'base64'))
  const attachments = mail.attachments.map((one) => ({ ...one, content: one.content.toString() }))
  return { ...body, mail: { ...mail, bcc: mail.bcc, text: mail.text?.trim(), attachments } }
}
