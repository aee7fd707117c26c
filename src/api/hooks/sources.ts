import { isJsonObject } from '../../json.ts'
import type { ProvenSource } from '../../runs/source-event.ts'
import { takeEvents, type Taken } from '../../runs/source-take.ts'
import type { SignedRequest, SignedRoute } from '../route.ts'
import { ok, type Reply } from '../route.ts'
import { RequestError } from '../../errors.ts'
import { objectOf } from '../../runs/source-event.ts'
import { parseProven, readMessage, readWebhook } from './source-events.ts'
import { listSources, onlyProven, type Candidate } from './source-list.ts'
import { holds, mayHold, proofOf } from './source-proof.ts'
import { component, listOf, shape, text } from '../shapes/shape.ts'

/** Of one webhook. */
const WEBHOOK_BYTES_MAX = 1024 * 1024
/** Of a batch, on the wire and inflated. */
const BATCH_BYTES_MAX = 5 * 1024 * 1024
export const BATCH_LENGTH_MAX = 10_000
const BODY_MS_MAX = 10_000

const UNPROVEN = 'the call is not signed with a secret of this source'
const UNKNOWN_KEY = 'no source has this write key; send it as the user name of basic authentication'

const DUPLICATE = { duplicate: true }

const Success = component('Success', { success: { const: true } })
const Received = {
  title: 'ReceivedEvents',
  anyOf: [
    Success,
    shape({
      events: listOf({
        anyOf: [shape({ id: text, status: text }), shape({ duplicate: { const: true } })],
      }),
    }),
  ],
}

const webhook: SignedRoute = {
  id: 'sources.send',
  summary: 'Takes a webhook of a source',
  replies: { 200: Received },
  kind: 'signed',
  method: 'POST',
  path: '/v1/sources/:key',
  bounds: { bytesMax: WEBHOOK_BYTES_MAX, msMax: BODY_MS_MAX, inflates: true },
  async handle(request) {
    const { params, headers } = request
    const isMeant = ({ key }: Candidate) => key === params['key']
    const { proven, body } = await readProven(request, isMeant, UNPROVEN)
    if (sendsMessages(proven)) return takeMessages(request, proven, body)
    const taken = await take(request, proven, readWebhook(proven.source, headers, body))
    const events = taken.map((one) => (one ? { id: one.id, status: one.status } : DUPLICATE))
    return ok({ events })
  },
}

/** Whether what a source sends are messages of a client of Segment or RudderStack. */
function sendsMessages({ source: { type } }: ProvenSource): boolean {
  return type === 'segment' || type === 'rudderstack'
}

/** What clients of Segment and RudderStack call; the last part of the path is the type of a single message. */
const messageRoutes = ['batch', 'track', 'identify', 'group', 'alias', 'page', 'screen'].map(
  (name): SignedRoute => ({
    id: `sources.${name}`,
    summary: `Takes what clients of Segment and RudderStack send by "${name}"`,
    replies: { 200: Success },
    kind: 'signed',
    method: 'POST',
    path: `/v1/${name}`,
    bounds: { bytesMax: BATCH_BYTES_MAX, msMax: BODY_MS_MAX, inflates: true },
    async handle(request) {
      const { proven, body } = await readProven(request, sendsMessages, UNKNOWN_KEY)
      return takeMessages(request, proven, body, name === 'batch' ? undefined : name)
    },
  }),
)

/** The body of a call that has proved which source it comes from. Nothing of it is parsed before. */
async function readProven(
  { readBody, readQuery, headers, database, services, now }: SignedRequest,
  isMeant: (candidate: Candidate) => boolean,
  message: string,
): Promise<{ readonly proven: Candidate; readonly body: Buffer }> {
  const { environment } = readQuery()
  const candidates = (await listSources(database, services)).filter(
    (one) => isMeant(one) && (environment === undefined || one.environment === environment),
  )
  const possible = candidates.flatMap((candidate) => {
    const proof = proofOf(candidate.source, headers)
    return proof && mayHold(proof, candidate.secrets, now) ? [{ candidate, proof }] : []
  })
  if (possible.length === 0) return { proven: onlyProven([], message), body: Buffer.alloc(0) }
  const body = await readBody()
  const proven = possible.filter(({ candidate, proof }) => holds(proof, candidate.secrets, body))
  return {
    proven: onlyProven(
      proven.map(({ candidate }) => candidate),
      message,
    ),
    body,
  }
}

async function takeMessages(
  request: SignedRequest,
  proven: ProvenSource,
  body: Buffer,
  type?: string,
): Promise<Reply> {
  const value = parseProven(body)
  const { batch, sentAt, type: own } = objectOf(value)
  const list = type === undefined && own === undefined ? batch : [typed(value, type)]
  if (!Array.isArray(list))
    throw new RequestError(400, 'invalid_json', 'the body has no list "batch"')
  if (list.length > BATCH_LENGTH_MAX) {
    const message = `the batch has ${list.length} events, more than ${BATCH_LENGTH_MAX}`
    throw new RequestError(400, 'invalid_params', message)
  }
  const clocks = { sentAt, now: request.now }
  const messages = list.map((one) => readMessage(one, clocks))
  await take(request, proven, messages)
  // Whatever became of each: these clients would send none of them again.
  return ok({ success: true })
}

/** A single message whose type is said by the path. */
function typed(value: unknown, type: string | undefined): unknown {
  return isJsonObject(value) && type !== undefined ? { ...value, type } : value
}

function take(
  { database, services: { queue }, now }: SignedRequest,
  proven: ProvenSource,
  events: Parameters<typeof takeEvents>[2],
): Promise<readonly (Taken | undefined)[]> {
  return takeEvents({ database, queue, now }, proven, events)
}

export const sourceHooks = [webhook, ...messageRoutes] as const
