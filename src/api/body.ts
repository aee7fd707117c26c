import type { IncomingMessage } from 'node:http'
import type { Readable, Transform } from 'node:stream'
import zlib from 'node:zlib'
import { RequestError } from '../errors.ts'
import { refuseBadText } from './text.ts'

/** Of a request body, on the wire and again after inflation. */
export const BODY_BYTES_MAX = 10 * 1024 * 1024
/** How much of a refused body is still read, so that the client sees the answer and not a broken pipe. */
const DRAIN_BYTES_MAX = 4 * BODY_BYTES_MAX
const DRAIN_MS_MAX = 2_000

const inflaters: Readonly<Record<string, () => Transform>> = {
  gzip: () => zlib.createGunzip(),
  deflate: () => zlib.createInflate(),
  br: () => zlib.createBrotliDecompress(),
}

export interface Body {
  /** As sent, inflated; what an idempotency key is held to. */
  readonly bytes: Buffer
  /** Undefined where there was no body. */
  readonly value: unknown
}

/**
 * Reads a JSON body of any method, DELETE included.
 * Throws a `RequestError`: 413 beyond the bound, 415 where it is not JSON, 400 where it cannot be read as JSON
 * in UTF-8, 422 for text that cannot be stored.
 */
export async function readJsonBody(request: IncomingMessage): Promise<Body> {
  const bytes = await readBody(request)
  if (bytes.length === 0) return { bytes, value: undefined }
  refuseOtherMediaType(request.headers['content-type'])
  const text = decode(bytes)
  const value = parse(text)
  refuseBadText('', value)
  return { bytes, value }
}

function refuseOtherMediaType(type: string | undefined): void {
  const name = type?.split(';', 1)[0]?.trim().toLowerCase()
  if (!name || name === 'application/json' || name.endsWith('+json')) return
  const message = `the body is sent as ${name}; send JSON, with "content-type: application/json"`
  throw new RequestError(415, 'unsupported_media_type', message)
}

function decode(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new RequestError(400, 'invalid_json', 'the body is not valid UTF-8')
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    const why = error instanceof Error ? error.message : 'malformed'
    throw new RequestError(400, 'invalid_json', `the body is not JSON: ${why.toWellFormed()}`)
  }
}

/** What a body may take of us. */
export interface BodyBounds {
  readonly bytesMax: number
  readonly msMax: number
  /** Whether it may be compressed; the bound then holds for what comes out as well. */
  readonly inflates?: true
}

/** Reads a body as it was sent, for those who have signed its bytes. Throws as `takeRawBody` does. */
export async function readRawBody(request: IncomingMessage, bounds: BodyBounds): Promise<Buffer> {
  const chunks: Buffer[] = []
  await takeRawBody(request, bounds, (chunk) => chunks.push(chunk))
  return Buffer.concat(chunks)
}

/**
 * Hands over a body as it was sent, chunk by chunk. Throws a `RequestError`: 413 beyond the bound, 408 where it
 * takes too long, 415 where it is compressed, 400 where it ends too early.
 */
export async function takeRawBody(
  request: IncomingMessage,
  { bytesMax, msMax, inflates }: BodyBounds,
  take: (chunk: Buffer) => void,
): Promise<void> {
  const inflate = inflates ? inflaterFor(request) : undefined
  if (!inflates && encodingOf(request) !== 'identity') {
    throw new RequestError(415, 'unsupported_encoding', 'send the body without a content-encoding')
  }
  if (Number(request.headers['content-length'] ?? 0) > bytesMax) throw tooLarge(bytesMax)
  await handOver(request, inflate, { bytesMax, msMax, take })
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const inflate = inflaterFor(request)
  if (Number(request.headers['content-length'] ?? 0) > BODY_BYTES_MAX)
    throw tooLarge(BODY_BYTES_MAX)
  const chunks: Buffer[] = []
  const take = (chunk: Buffer) => chunks.push(chunk)
  await handOver(request, inflate, { bytesMax: BODY_BYTES_MAX, take })
  return Buffer.concat(chunks)
}

/** What inflates a body; undefined for one that is sent as it is. Throws a 415 for an encoding that is not known. */
function inflaterFor(request: IncomingMessage): Transform | undefined {
  const encoding = encodingOf(request)
  const inflate = encoding === 'identity' ? undefined : inflaters[encoding]?.()
  if (inflate || encoding === 'identity') return inflate
  const message = `content-encoding "${encoding}" is not known; send gzip, deflate, br or none`
  throw new RequestError(415, 'unsupported_encoding', message)
}

function encodingOf(request: IncomingMessage): string {
  return (request.headers['content-encoding'] ?? 'identity').trim().toLowerCase()
}

interface HandOver {
  readonly bytesMax: number
  readonly msMax?: number
  readonly take: (chunk: Buffer) => void
}

/** Hands over the bytes, counted before and after inflation, chunk by chunk. */
function handOver(
  request: IncomingMessage,
  inflate: Transform | undefined,
  { bytesMax, msMax, take }: HandOver,
): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const handed = new Promise<void>((resolve, reject) => {
    let wire = 0
    let size = 0
    const source: Readable = inflate ?? request
    const stop = (error: RequestError) => {
      request.unpipe()
      request.removeAllListeners('data')
      inflate?.destroy()
      reject(error)
    }
    request.on('data', (chunk: Buffer) => {
      wire += chunk.length
      if (wire > bytesMax) stop(tooLarge(bytesMax))
    })
    source.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > bytesMax) stop(tooLarge(bytesMax))
      else take(chunk)
    })
    source.on('end', () => resolve())
    source.on('error', () => stop(unreadable(inflate)))
    request.on('error', () => stop(unreadable(undefined)))
    request.on('close', () => {
      if (!request.complete) stop(unreadable(undefined))
    })
    if (inflate) request.pipe(inflate)
    if (msMax !== undefined) timer = setTimeout(() => stop(tooSlow(msMax)), msMax)
  })
  return handed.finally(() => clearTimeout(timer))
}

function tooLarge(bytesMax: number): RequestError {
  const message = `the body is larger than ${bytesMax} bytes`
  return new RequestError(413, 'body_too_large', message)
}

function tooSlow(msMax: number): RequestError {
  const message = `the body was not there within ${msMax / 1000} seconds`
  return new RequestError(408, 'body_too_slow', message)
}

function unreadable(inflate: Transform | undefined): RequestError {
  const what = inflate ? 'is not what its content-encoding says' : 'ended too early'
  return new RequestError(400, 'invalid_body', `the body ${what}`)
}

/**
 * Takes in what is left of a refused body, up to a bound of bytes and of time: a socket that is closed with
 * bytes unread is reset, and the client never sees why.
 */
export function drainBody(request: IncomingMessage): Promise<void> {
  if (request.complete || request.destroyed) return Promise.resolve()
  return new Promise((resolve) => {
    let size = 0
    const timer = setTimeout(done, DRAIN_MS_MAX)
    function done(): void {
      clearTimeout(timer)
      request.removeListener('data', count)
      resolve()
    }
    function count(chunk: Buffer): void {
      size += chunk.length
      if (size > DRAIN_BYTES_MAX) done()
    }
    request.on('data', count)
    request.once('end', done)
    request.once('close', done)
    request.resume()
  })
}
