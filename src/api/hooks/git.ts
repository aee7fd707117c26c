import type { IncomingHttpHeaders } from 'node:http'
import type { Transaction } from '../../db/database.ts'
import { RequestError, unreachable } from '../../errors.ts'
import type { Revision } from '../../ids.ts'
import { findFollowers, requestLook } from '../../reconcile/hint-store.ts'
import type { Reply, SignedRequest, SignedRoute } from '../route.ts'
import type { GitEvent, Move } from './event.ts'
import { gitHosts, type GitHost } from './hosts.ts'
import type { HookOutcome } from './journal.ts'
import { headerOf, openBodyProof, problemBeforeBody } from '../../proof.ts'
import { saveDelivery } from './store.ts'
import { component, flag, listOf, text } from '../shapes/shape.ts'

/** Hosts send 25 MB at most, a third more as a form; the bound also holds before anything is proved. */
const BYTES_MAX = 32 * 1024 * 1024
/** Of a larger body nothing is kept: it is proved while it comes, and its sender believed without its content. */
const KEPT_BYTES_MAX = 3 * 1024 * 1024
/** Hosts wait ten seconds for an answer, at the longest. */
const BODY_MS_MAX = 10_000
const DELIVERY_ID_LENGTH_MAX = 255

const HookAnswer = component(
  'GitWebhookAnswer',
  { matched: listOf(text), queued: flag, duplicate: flag, message: text },
  { optional: ['duplicate'] },
)

/**
 * Wakes a look at Git. A delivery is believed in one thing only: that it is worth looking. What it says of a
 * branch and a commit tells how long to look, and nothing of it is applied.
 */
export const gitHook: SignedRoute = {
  id: 'hooks.git',
  summary: 'Takes a webhook of a Git host, and looks at Git',
  replies: { 200: HookAnswer, 202: HookAnswer },
  kind: 'signed',
  method: 'POST',
  path: '/hooks/git/:provider',
  bounds: { bytesMax: BYTES_MAX, msMax: BODY_MS_MAX },
  reads: ['application/json', 'application/x-www-form-urlencoded'],
  async handle(request) {
    const { provider = '' } = request.params
    const host = gitHosts.get(provider)
    if (!host) throw unknownProvider()
    const hooks = request.services.gitHooks
    try {
      const body = await readProven(request, host, hooks?.secrets ?? [])
      const { outcome, reply } = await take(request, { provider, host, body })
      hooks?.note(provider, outcome)
      return reply
    } catch (error) {
      if (error instanceof Refusal) hooks?.note(provider, error.outcome)
      throw error
    }
  },
}

/** A delivery that is not taken. Its answer tells no caller which secret it came near to. */
class Refusal extends RequestError {
  readonly outcome: HookOutcome

  constructor(outcome: HookOutcome, status: number, code: string, message: string) {
    super(status, code, message)
    this.outcome = outcome
  }
}

function unknownProvider(): RequestError {
  const message = `there is no such Git host; known are ${[...gitHosts.keys()].join(', ')}`
  return new RequestError(404, 'resource_missing', message)
}

/**
 * The body of a delivery that has proved who sent it; undefined for one that is too large to be kept. Nothing of it is
 * parsed before, and Postgres is not asked.
 */
async function readProven(
  { headers, takeBody, now }: SignedRequest,
  host: GitHost,
  secrets: readonly string[],
): Promise<Buffer | undefined> {
  if (secrets.length === 0)
    throw new Refusal(
      'no_secrets',
      401,
      'webhook_signature',
      'no webhook is taken: set BELFRY_WEBHOOK_SECRETS',
    )
  const proof = host.proof(headers)
  if (!proof)
    throw new Refusal(
      'unsigned',
      401,
      'webhook_signature',
      'the delivery is not signed: give the webhook a secret',
    )
  const problem = problemBeforeBody(proof, secrets, now)
  if (problem) throw badProof(problem)
  const signed = openBodyProof(proof, secrets)
  const body = openKept()
  try {
    await takeBody((chunk) => {
      signed.take(chunk)
      body.take(chunk)
    })
  } catch (error) {
    throw error instanceof RequestError ? unread(error) : error
  }
  if (!signed.holds()) throw badProof('bad_signature')
  return body.whole()
}

/** Keeps a body as long as it is small. */
function openKept() {
  let chunks: Buffer[] = []
  let size = 0
  return {
    take(chunk: Buffer) {
      size += chunk.length
      if (size > KEPT_BYTES_MAX) chunks = []
      else chunks.push(chunk)
    },
    whole: () => (size > KEPT_BYTES_MAX ? undefined : Buffer.concat(chunks)),
  }
}

function badProof(outcome: 'bad_signature' | 'bad_timestamp'): Refusal {
  const message =
    outcome === 'bad_timestamp'
      ? 'the delivery was signed more than five minutes ago, or the clocks differ'
      : 'the signature is not that of a secret in BELFRY_WEBHOOK_SECRETS'
  return new Refusal(outcome, 401, 'webhook_signature', message)
}

function unread({ status, code, message }: RequestError): Refusal {
  const outcome = status === 413 ? 'too_large' : status === 408 ? 'too_slow' : 'unreadable'
  return new Refusal(outcome, status, code, message)
}

interface Proven {
  readonly provider: string
  readonly host: GitHost
  readonly body: Buffer | undefined
}

interface Taken {
  readonly outcome: HookOutcome
  readonly reply: Reply
}

async function take(request: SignedRequest, { provider, host, body }: Proven): Promise<Taken> {
  const { headers, database, now } = request
  const parsed = body === undefined ? UNREAD : parse(headers, host, body)
  if (parsed === undefined) {
    const message = 'the body is not JSON in UTF-8'
    if (!host.givesUp) throw new Refusal('malformed', 400, 'invalid_json', message)
    return { outcome: 'malformed', reply: answer({ message }) }
  }
  const said = host.event(headers, parsed.value)
  // Which branch it is about was not read: any may have moved.
  const event: GitEvent =
    body === undefined && said.kind === 'push' ? { kind: 'other_change' } : said
  const id = deliveryId(headers, host)
  return database.transaction(async (tx) => {
    if (!(await saveDelivery(tx, { provider, id, now }))) {
      const message = 'this delivery was taken before'
      return { outcome: 'duplicate', reply: answer({ duplicate: true, message }) }
    }
    switch (event.kind) {
      case 'ping':
        return { outcome: 'unmatched', reply: answer({ message: 'the webhook works' }) }
      case 'ignored':
        return { outcome: 'unmatched', reply: answer({ message: 'this event moves no branch' }) }
      case 'other_change':
        await requestLook(tx, [], now)
        return { outcome: 'queued', reply: queued([], 'Git is looked at') }
      case 'push':
        return takePush(tx, event.moves, now)
      default:
        return unreachable(event)
    }
  })
}

async function takePush(tx: Transaction, moves: readonly Move[], now: Date): Promise<Taken> {
  const { environments, branches } = await findFollowers(
    tx,
    moves.map(({ branch }) => branch),
  )
  if (branches.length === 0) {
    const message =
      moves.length === 0 ? 'no branch was moved' : 'no environment follows this branch'
    return { outcome: 'unmatched', reply: answer({ message }) }
  }
  const hints = moves.flatMap(({ branch, revision }) =>
    revision !== null && branches.includes(branch)
      ? [{ branch, revision: revision as Revision }]
      : [],
  )
  await requestLook(tx, hints, now)
  const message =
    environments.length > 0
      ? 'the environments that follow this branch are looked at'
      : 'the default branch is looked at, which says what environments there are'
  return { outcome: 'queued', reply: queued(environments, message) }
}

function answer(more: { readonly duplicate?: true; readonly message: string }): Reply {
  return { status: 200, body: { matched: [], queued: false, ...more } }
}

function queued(matched: readonly string[], message: string): Reply {
  return { status: 202, body: { matched, queued: true, message } }
}

function deliveryId(headers: IncomingHttpHeaders, host: GitHost): string | null {
  const [id] = host.deliveryIds.flatMap((name) => headerOf(headers, name) ?? [])
  return id === undefined || id.length > DELIVERY_ID_LENGTH_MAX ? null : id
}

/** What a body comes to that was not kept. */
const UNREAD = { value: undefined } as const

/** The JSON of a body that was proved; undefined where it is none. */
function parse(
  headers: IncomingHttpHeaders,
  host: GitHost,
  body: Buffer,
): { readonly value: unknown } | undefined {
  const type = headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase()
  const isForm = host.form === true && type === 'application/x-www-form-urlencoded'
  try {
    const sent = new TextDecoder('utf-8', { fatal: true }).decode(body)
    const json = isForm ? (new URLSearchParams(sent).get('payload') ?? '') : sent
    return { value: JSON.parse(json) as unknown }
  } catch {
    return undefined
  }
}
