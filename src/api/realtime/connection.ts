import type { WebSocket } from 'ws'
import type { Queryable } from '../../db/database.ts'
import type { Clock } from '../../clock.ts'
import { RequestError } from '../../errors.ts'
import type { EnvironmentName } from '../../ids.ts'
import type { Client } from '../client-access.ts'
import type { FeedWatch, Watched } from './feed-watch.ts'
import { readFrame, replyTo, writeFrame, type Frame } from './frame.ts'
import { ONLY_VIEW, readJoin } from './join.ts'

/** For whom a connection is, as it was proved when it began. */
export interface Visitor {
  readonly environment: EnvironmentName
  readonly client: Client
}

export interface ConnectionOptions {
  readonly database: Queryable
  readonly clock: Clock
  readonly watch: FeedWatch
  readonly log: { error(message: string, fields: Readonly<Record<string, unknown>>): void }
}

/** Reasons to close, as the protocol numbers them. */
export const CLOSE = { unreadable: 1002, refused: 1008, restarting: 1012 } as const

const TOPICS_MAX = 20
/** Frames that wait for those before them. */
const PENDING_MAX = 100
/** Of frames in `WINDOW_MS`: clients send one in thirty seconds, and one for each feed. */
const FRAMES_MAX = 300
const WINDOW_MS = 10_000
/** Of what a client has not taken from us. */
const UNSENT_BYTES_MAX = 1_048_576

/** One browser that listens: answers its frames one by one, and tells it of its feeds. */
export class Connection {
  readonly #socket: WebSocket
  readonly #visitor: Visitor
  readonly #options: ConnectionOptions
  readonly #joined = new Map<string, Watched>()
  #pending = 0
  #tail: Promise<void> = Promise.resolve()
  #window = { at: 0, frames: 0 }
  /** Whether it was connected before: its frames are numbered on, and it has missed what came meanwhile. */
  #isBack: boolean | undefined
  #isClosed = false
  /** In milliseconds, when it last said anything. */
  heardAt: number

  constructor(socket: WebSocket, visitor: Visitor, options: ConnectionOptions) {
    this.#socket = socket
    this.#visitor = visitor
    this.#options = options
    this.heardAt = options.clock.now().getTime()
    socket.on('message', (data: Buffer, isBinary) => this.#hear(data.toString(), isBinary))
    socket.on('close', () => this.#forget())
    // It is closed after an error.
    socket.on('error', () => {})
  }

  /** Whether its token has run out. */
  hasExpired(now: Date): boolean {
    const { expiresAt } = this.#visitor.client
    return expiresAt !== null && expiresAt <= now
  }

  close(code: number, reason: string): void {
    this.#forget()
    this.#socket.close(code, reason)
  }

  /** Cuts it off without a word. */
  cut(): void {
    this.#socket.terminate()
  }

  #forget(): void {
    this.#isClosed = true
    for (const watched of this.#joined.values()) watched.close()
    this.#joined.clear()
  }

  #hear(text: string, isBinary: boolean): void {
    if (this.#isClosed) return
    this.heardAt = this.#options.clock.now().getTime()
    const frame = isBinary ? undefined : readFrame(text)
    if (!frame) return this.close(CLOSE.unreadable, 'this is no frame of the protocol')
    // A client that comes back joins what it had joined, before it says anything else.
    if (frame.event !== 'phx_join') this.#isBack = false
    this.#isBack ??= Number(frame.ref) > 1
    if (this.#isTooMuch()) return this.close(CLOSE.refused, 'too many frames')
    this.#pending += 1
    this.#tail = this.#answerAfter(this.#tail, frame)
  }

  async #answerAfter(earlier: Promise<void>, frame: Frame): Promise<void> {
    await earlier
    await this.#answer(frame)
    this.#pending -= 1
  }

  #isTooMuch(): boolean {
    if (this.heardAt - this.#window.at > WINDOW_MS) this.#window = { at: this.heardAt, frames: 0 }
    this.#window.frames += 1
    return this.#window.frames > FRAMES_MAX || this.#pending >= PENDING_MAX
  }

  /** Never rejects. */
  async #answer(frame: Frame): Promise<void> {
    if (this.#isClosed) return
    try {
      this.#send(replyTo(frame, 'ok', await this.#do(frame)))
    } catch (error) {
      if (error instanceof RequestError) {
        const { code, message } = error
        return this.#send(replyTo(frame, 'error', { reason: code, message }))
      }
      this.#options.log.error('a frame failed', { topic: frame.topic, error })
      this.#send(replyTo(frame, 'error', { reason: 'internal_error' }))
    }
  }

  async #do(frame: Frame): Promise<object> {
    const { topic, event } = frame
    if (topic === 'phoenix' && event === 'heartbeat') return {}
    if (event === 'phx_join') {
      await this.#join(frame)
      return {}
    }
    if (event !== 'phx_leave') throw unknownEvent(event)
    this.#leave(topic)
    return {}
  }

  async #join({ topic, payload }: Frame): Promise<void> {
    const { database, watch } = this.#options
    this.#leave(topic)
    if (this.#joined.size >= TOPICS_MAX) throw tooManyTopics()
    const join = await readJoin(database, { ...this.#visitor, topic, payload })
    const isStale = this.#isBack === true
    const watched = await watch.watch(join, (changed) => this.#tell(topic, changed), isStale)
    if (this.#isClosed) watched.close()
    else this.#joined.set(topic, watched)
  }

  #leave(topic: string): void {
    this.#joined.get(topic)?.close()
    this.#joined.delete(topic)
  }

  #tell(topic: string, changed: ReadonlyMap<string, object>): void {
    if (this.hasExpired(this.#options.clock.now()))
      return this.close(CLOSE.refused, 'the user token has expired')
    const named = [...changed].filter(([name]) => name !== ONLY_VIEW)
    const payload = {
      event: 'new-message',
      attn: named.map(([name]) => name),
      metadata: [...changed.values()][0],
      data: Object.fromEntries(named.map(([name, metadata]) => [name, { metadata }])),
    }
    this.#send(writeFrame({ joinRef: null, ref: null, topic, event: 'new-message', payload }))
  }

  #send(text: string): void {
    if (this.#isClosed) return
    if (this.#socket.bufferedAmount > UNSENT_BYTES_MAX) return this.cut()
    this.#socket.send(text)
  }
}

function unknownEvent(event: string): RequestError {
  return new RequestError(422, 'invalid_params', `there is no event "${event}"`)
}

function tooManyTopics(): RequestError {
  const message = `a connection listens to ${TOPICS_MAX} feeds at most`
  return new RequestError(422, 'invalid_params', message)
}
