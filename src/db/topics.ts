import { Client } from 'pg'
import type { Log } from '../log.ts'
import { connectionSettings, type Queryable } from './database.ts'
import { sql } from './sql.ts'

/** Called with each payload, and with undefined when the connection was down: anything may have been missed. */
export type OnMessage = (payload: string | undefined) => void

export interface Listening {
  close(): Promise<void>
}

/** What this process hears from others through Postgres, on one connection of its own. */
export interface Topics extends AsyncDisposable {
  /** Resolves when everything sent from now on will be heard. A message only means: look again. */
  listen(topic: string, onMessage: OnMessage): Promise<Listening>
  close(): Promise<void>
}

const RECONNECT_DELAY_MS = 100
const DELAY_MS_MAX = 5000
/** A connection that went silent, as behind a dropped NAT entry, is noticed after these two. */
const HEARTBEAT_MS = 10_000
const HEARTBEAT_TIMEOUT_MS = 5000
/** Postgres refuses 8000 bytes and more. */
const PAYLOAD_BYTES_MAX = 7999

/** Sends a message that is delivered when the transaction commits, and only then. */
export async function notify(tx: Queryable, topic: string, payload: string): Promise<void> {
  if (Buffer.byteLength(payload) > PAYLOAD_BYTES_MAX) {
    throw new Error(`a message on ${topic} is longer than ${PAYLOAD_BYTES_MAX} bytes`)
  }
  await tx.query(sql`select pg_notify(${topic}, ${payload})`)
}

/** Opens the listening side; it connects with the first `listen` and reconnects by itself. */
export function openTopics(url: string, options: { readonly log: Log }): Topics {
  return new Connection(url, options.log)
}

class Connection implements Topics {
  readonly #url: string
  readonly #log: Log
  readonly #listeners = new Map<string, Set<OnMessage>>()
  readonly #closing = new AbortController()
  #client: Client | undefined
  #connecting: Promise<Client> | undefined

  constructor(url: string, log: Log) {
    this.#url = url
    this.#log = log
  }

  async listen(topic: string, onMessage: OnMessage): Promise<Listening> {
    const known = this.#listeners.get(topic) ?? new Set()
    this.#listeners.set(topic, known.add(onMessage))
    const client = this.#client ?? (await this.#connect())
    // A failure means that the connection broke; the next one subscribes to every topic.
    await client.query(`listen ${client.escapeIdentifier(topic)}`).catch(() => this.#connect())
    return { close: () => this.#unlisten(topic, onMessage) }
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await this.#connecting?.catch(() => {})
    await this.#client?.end().catch(() => {})
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #unlisten(topic: string, onMessage: OnMessage): Promise<void> {
    const known = this.#listeners.get(topic)
    known?.delete(onMessage)
    if (!known || known.size > 0) return
    this.#listeners.delete(topic)
    const client = this.#client
    await client?.query(`unlisten ${client.escapeIdentifier(topic)}`).catch(() => {})
  }

  #dispatch(topic: string, payload: string | undefined): void {
    for (const onMessage of this.#listeners.get(topic) ?? []) onMessage(payload)
  }

  /** One attempt at a time, shared by all who need the connection. */
  #connect(): Promise<Client> {
    this.#connecting ??= this.#connectUntilUp().finally(() => (this.#connecting = undefined))
    return this.#connecting
  }

  async #connectUntilUp(): Promise<Client> {
    for (let delayMs = RECONNECT_DELAY_MS; ; delayMs = Math.min(delayMs * 2, DELAY_MS_MAX)) {
      this.#closing.signal.throwIfAborted()
      try {
        this.#client = await this.#connectOnce()
        return this.#client
      } catch (error) {
        this.#log.debug('connection for messages refused', { error })
        await pause(delayMs, this.#closing.signal)
      }
    }
  }

  async #connectOnce(): Promise<Client> {
    const client = new Client(connectionSettings(this.#url))
    client.on('error', () => {})
    client.on('notification', ({ channel, payload }) => this.#dispatch(channel, payload ?? ''))
    try {
      await client.connect()
      for (const topic of this.#listeners.keys()) {
        await client.query(`listen ${client.escapeIdentifier(topic)}`)
      }
    } catch (error) {
      await client.end().catch(() => {})
      throw error
    }
    const beat = setInterval(() => void heartbeat(client), HEARTBEAT_MS)
    beat.unref()
    client.on('end', () => {
      clearInterval(beat)
      this.#onLost(client)
    })
    return client
  }

  #onLost(client: Client): void {
    if (this.#client !== client || this.#closing.signal.aborted) return
    this.#client = undefined
    this.#log.warn('connection for messages lost, reconnecting')
    const lookAgain = () => {
      for (const topic of this.#listeners.keys()) this.#dispatch(topic, undefined)
    }
    // It rejects only when we are closed.
    this.#connect().then(lookAgain, () => {})
  }
}

async function heartbeat(client: Client): Promise<void> {
  const timeout = setTimeout(() => client.connection.stream.destroy(), HEARTBEAT_TIMEOUT_MS)
  try {
    await client.query('select 1')
  } catch {
    // The connection reports its end itself.
  } finally {
    clearTimeout(timeout)
  }
}

/** Waits, or returns early when the signal is aborted. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done)
  })
}
