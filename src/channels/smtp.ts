import type { EmailContent } from '../steps/step.ts'
import { parseMailbox } from './address.ts'
import { brokenChannel } from './api.ts'
import { dkimSchema, signMail } from './dkim.ts'
import type { DkimSettings } from './dkim.ts'
import { composeMail, senderSchema } from './mail.ts'
import type { Mail } from './mail.ts'
import { secretOr } from './secret.ts'
import type { Answer, Exchange, Provider } from './provider.ts'
import { SmtpError, transmit } from './smtp-session.ts'
import type { Receipt } from './smtp-session.ts'
import { DoorError } from './target.ts'

export interface SmtpSettings {
  readonly host: string
  /** 587 where it is not said. */
  readonly port?: number
  /**
   * `auto`: TLS from the start on port 465, else STARTTLS required, except towards the machine
   * itself. `none` sends in the clear, for a relay in a private network.
   */
  readonly tls?: 'auto' | 'implicit' | 'starttls' | 'none'
  readonly username?: string
  readonly password?: string
  /** The sender where a step names none: `hello@example.com` or `Example <hello@example.com>`. */
  readonly from: string
  readonly dkim?: DkimSettings
}

const PORT = 587
/** Answers of this kind mean "later", whatever their number says; the texts are those of large servers. */
const RATE_TEXT =
  /throttl|rate|too many|slow down|limit exceeded|exceeded .*(limit|quota)|4\.7\.28/i
const RATE_CODES = new Set([421, 450, 451, 452, 454])
/** Answers to a mail that are about the channel: not logged in, or TLS demanded. */
const CHANNEL_CODES = new Set([530, 534, 535, 538])

/** What a server says, by number, of a mailbox that is not there: unknown, moved away, a domain that takes no mail. */
const GONE_TEXT = /^55[013][ -]5\.1\.(?:1|6|10)\b/

/** Mail over SMTP. */
export const smtp: Provider<'smtp', EmailContent, SmtpSettings> = {
  name: 'smtp',
  type: 'email',
  summary: 'A mail server; TLS is required except on the machine itself.',
  schema: {
    required: ['host', 'from'],
    properties: {
      host: secretOr({
        description: 'The mail server.',
        type: 'string',
        minLength: 1,
        maxLength: 253,
      }),
      port: {
        description: '587 where it is not said.',
        type: 'integer',
        minimum: 1,
        maximum: 65_535,
      },
      tls: {
        description:
          '`auto`: from the start on port 465, else STARTTLS required, except towards the machine itself.',
        enum: ['auto', 'implicit', 'starttls', 'none'],
      },
      username: secretOr({
        description: 'The name to log in with.',
        type: 'string',
        minLength: 1,
        maxLength: 500,
      }),
      password: secretOr({
        description: 'Its password.',
        type: 'string',
        minLength: 1,
        maxLength: 2_000,
      }),
      from: senderSchema,
      dkim: dkimSchema,
    },
  },
  example: {
    host: 'smtp.example.com',
    port: 587,
    tls: 'starttls',
    username: 'belfry',
    password: 'a password, or { secret: NAME }',
    from: 'Example <hello@example.com>',
    dkim: {
      domain: 'example.com',
      selector: 'belfry',
      private_key: '-----BEGIN PRIVATE KEY----- … or { secret: NAME }',
    },
  },
  delivery: 'handed_over',
  overrides: null,
  target: ({ host, port = PORT }) => ({ host, port }),
  service: {
    perSecond: null,
    permanent: ['5xx to sender, recipient or data'],
    idempotency: 'the same Message-ID, by which mailboxes can tell',
    reports: null,
  },

  async send(message, { settings, signal, now, door }) {
    if (parseMailbox(settings.from) === undefined) {
      return brokenChannel("the channel's from is not one mailbox")
    }
    const written = await composeMail(message, message.content.from ?? settings.from, now)
    if ('reason' in written) return { kind: 'rejected', ...written, exchange: null }
    const raw = settings.dkim ? await signMail(written.raw, settings.dkim) : written.raw
    if (raw === undefined) {
      return brokenChannel("the channel's dkim.private_key is no RSA key of 1024 bits or more")
    }
    const mail = { ...written, raw }
    const server = {
      host: settings.host,
      port: settings.port ?? PORT,
      tls: settings.tls ?? 'auto',
      username: settings.username,
      password: settings.password,
    }
    const request = describe(mail, message.content, `${server.host}:${server.port}`)
    try {
      return accepted(await transmit(mail, server, door, signal), mail, request)
    } catch (error) {
      return judge(error, request)
    }
  },
}

function describe(mail: Mail, content: EmailContent, host: string): Exchange['request'] {
  const { html, text } = content
  return {
    method: 'SMTP',
    host,
    path: mail.to,
    headers: mail.headers,
    body: { from: mail.from, to: mail.recipients, text, html },
  }
}

/** The mail was taken; but not for the person it is meant for, if the server refused that address. */
function accepted(receipt: Receipt, mail: Mail, request: Exchange['request']): Answer {
  const refused = receipt.refused.find(({ address }) => address === mail.to)
  if (refused) return judge(refused.error, request)
  const response = { status: 250, headers: {}, body: receipt.response }
  return {
    kind: 'accepted',
    status: 'sent',
    reference: receipt.response,
    exchange: { request, response },
  }
}

function judge(error: unknown, request: Exchange['request']): Answer {
  if (error instanceof DoorError) {
    return { kind: 'failed', details: error.message, exchange: { request, response: null } }
  }
  if (!(error instanceof SmtpError)) throw error
  const { phase, recipient, reply, message: details } = error
  if (reply !== null) return judgeReply({ phase, recipient, reply, details }, request)
  const exchange: Exchange = { request, response: null }
  return phase === 'data'
    ? { kind: 'unknown', details, exchange }
    : { kind: 'failed', details, exchange }
}

/** What the server said, and to what. */
interface Said extends Pick<SmtpError, 'phase' | 'recipient'> {
  readonly reply: NonNullable<SmtpError['reply']>
  readonly details: string
}

function judgeReply(
  { phase, reply, recipient, details }: Said,
  request: Exchange['request'],
): Answer {
  const response = { status: reply.code, headers: {}, body: reply.text }
  const exchange: Exchange = { request, response }
  if (RATE_CODES.has(reply.code) && RATE_TEXT.test(reply.text))
    return { kind: 'throttled', details, exchange }
  if (phase === 'login') {
    const refusal = `the server refused the credentials of the channel: ${details}`
    // A server that asks to come back may mean this moment only.
    const isFinal = reply.code >= 500
    return { kind: 'failed', details: refusal, exchange, ...ofChannel(isFinal) }
  }
  if (phase === 'connect' || reply.code < 500) return { kind: 'failed', details, exchange }
  if (CHANNEL_CODES.has(reply.code)) {
    const asked = `the server asks for credentials: ${details}`
    return { kind: 'failed', channel: true, details: asked, exchange }
  }
  // Said of the sender or of the mail, the number is not about the mailbox.
  if (recipient !== null && GONE_TEXT.test(reply.text)) {
    return { kind: 'bounced', reason: 'address_gone', details, exchange }
  }
  return { kind: 'rejected', reason: 'provider_rejected', details, exchange }
}

function ofChannel(isFinal: boolean): { readonly channel?: true } {
  return isFinal ? { channel: true } : {}
}
