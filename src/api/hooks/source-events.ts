import type { IncomingHttpHeaders } from 'node:http'
import { RequestError } from '../../errors.ts'
import { lookUp } from '../../language/paths.ts'
import { parseTimestamp } from '../../language/timestamps.ts'
import { objectOf, type Json, type SourceEvent } from '../../runs/source-event.ts'
import type { Source } from '../../workflow/sources.ts'
import { refuseBadText } from '../text.ts'
import { headerOf } from '../../proof.ts'

const TEXT_LENGTH_MAX = 255

/** The JSON of a body that was proved. Throws a 400 `RequestError` where it is none. */
export function parseProven(body: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body)) as unknown
  } catch {
    throw new RequestError(400, 'invalid_json', 'the body is not JSON in UTF-8')
  }
}

/** Reads what a webhook has brought; a batch of CloudEvents is several. */
export function readWebhook(
  source: Source,
  headers: IncomingHttpHeaders,
  body: Buffer,
): readonly SourceEvent[] {
  if (source.type === 'cloudevents') return readCloudEvents(source, headers, body)
  const value = parseProven(body)
  const standardId = source.type === 'standard_webhooks' ? standardIdIn(headers) : undefined
  const id = source.id === undefined ? standardId : undefined
  return [
    webhookEvent(value, {
      event: lookUp(value, source.event ?? 'type'),
      id: id ?? lookUp(value, source.id ?? 'id'),
      user: userOf(source, value),
      at: lookUp(value, 'timestamp'),
    }),
  ]
}

function standardIdIn(headers: IncomingHttpHeaders): string | undefined {
  return headerOf(headers, 'webhook-id') ?? headerOf(headers, 'svix-id')
}

function userOf({ user }: Source, value: unknown): unknown {
  return user === undefined ? undefined : lookUp(value, user)
}

interface Parts {
  readonly event: unknown
  readonly id: unknown
  readonly user: unknown
  readonly at: unknown
}

function webhookEvent(value: unknown, { event, id, user, at }: Parts): SourceEvent {
  const found = checked(value, 'webhook', {
    event: nameOf(event),
    userId: idOf(user),
    messageId: idOf(id),
    happenedAt: moment(parseTimestamp(at)),
  })
  if (found.problem !== undefined || found.event !== null) return found
  return { ...found, problem: 'the event has no name where the source says that it stands' }
}

const BATCH_TYPE = 'application/cloudevents-batch+json'
const STRUCTURED_TYPE = 'application/cloudevents+json'

function readCloudEvents(
  source: Source,
  headers: IncomingHttpHeaders,
  body: Buffer,
): readonly SourceEvent[] {
  const type = headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase()
  if (type === BATCH_TYPE) {
    const list = parseProven(body)
    if (!Array.isArray(list))
      throw new RequestError(400, 'invalid_json', 'the body is no list of events')
    return list.map((one) => cloudEvent(source, one))
  }
  const isStructured = type === STRUCTURED_TYPE
  return [cloudEvent(source, isStructured ? parseProven(body) : binaryEvent(headers, body))]
}

function cloudEvent(source: Source, value: unknown): SourceEvent {
  const { id, source: origin, type, time } = objectOf(value)
  // An id is one of its origin alone.
  const known = typeof id === 'string' && typeof origin === 'string' ? `${origin}#${id}` : undefined
  return webhookEvent(value, { event: type, id: known, user: userOf(source, value), at: time })
}

/** Attributes stand in headers, and the body is the data. */
function binaryEvent(headers: IncomingHttpHeaders, body: Buffer): Json {
  const attributes = Object.entries(headers).flatMap(([name, value]) =>
    name.startsWith('ce-') && typeof value === 'string' ? [[name.slice(3), decoded(value)]] : [],
  )
  const data = body.length === 0 ? {} : { data: parseProven(body) }
  return { ...(Object.fromEntries(attributes) as Json), ...data }
}

function decoded(value: string): string {
  try {
    return decodeURIComponent(value)
  } catch {
    return value
  }
}

const KINDS = ['track', 'identify', 'group', 'alias', 'page', 'screen'] as const

/** When something was sent, by the clocks of both ends. */
export interface Clocks {
  readonly sentAt: unknown
  readonly now: Date
}

/** Reads one message of a Segment or RudderStack client. Nothing in it has been checked. */
export function readMessage(value: unknown, { sentAt, now }: Clocks): SourceEvent {
  const message = objectOf(value)
  const { type, event, userId, messageId, timestamp, originalTimestamp } = message
  const kind = KINDS.find((one) => one === type)
  const said = parseTimestamp(originalTimestamp ?? timestamp)
  const sent = parseTimestamp(message['sentAt'] ?? sentAt)
  const found = checked(withoutKey(value), kind ?? 'unknown', {
    event: kind === 'track' ? nameOf(event) : null,
    userId: idOf(userId),
    messageId: idOf(messageId),
    // The sender's clock may be off: what counts is how long before the sending it was.
    happenedAt: moment(
      said !== undefined && sent !== undefined ? now.getTime() - (sent - said) : said,
    ),
  })
  if (found.problem !== undefined) return found
  if (kind === undefined) return { ...found, problem: `type is none of ${KINDS.join(', ')}` }
  if (kind === 'track' && found.event === null) return { ...found, problem: 'event is missing' }
  return found
}

const LAST_MOMENT = Date.UTC(9999, 11, 31)

/** A time in milliseconds, unless it is none that can be stored. */
function moment(ms: number | undefined): Date | null {
  return ms !== undefined && ms >= 0 && ms < LAST_MOMENT ? new Date(ms) : null
}

/** Some clients say their write key in each message; it is not to be read in the log. */
function withoutKey(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, 'writeKey')) return value
  const { writeKey: _, ...others } = value as Json
  return others
}

/** An event whose body can be stored, or one that says why not. */
function checked(
  value: unknown,
  kind: SourceEvent['kind'],
  fields: Pick<SourceEvent, 'event' | 'userId' | 'messageId' | 'happenedAt'>,
): SourceEvent {
  const nothing = { kind, event: null, userId: null, messageId: null, happenedAt: null, body: null }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return { ...nothing, problem: 'the event is not a JSON object' }
  try {
    refuseBadText('', value)
  } catch (error) {
    if (!(error instanceof RequestError)) throw error
    return { ...nothing, problem: error.message }
  }
  return { kind, ...fields, body: value as Json }
}

function nameOf(value: unknown): string | null {
  const isName = typeof value === 'string' && value !== '' && value.length <= TEXT_LENGTH_MAX
  return isName ? value : null
}

/** Some clients send ids as numbers. */
function idOf(value: unknown): string | null {
  return nameOf(typeof value === 'number' ? String(value) : value)
}
