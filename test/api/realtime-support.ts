import { once } from 'node:events'
import { WebSocket } from 'ws'
import { originCheck } from '../../src/api/cors.ts'
import { createKey } from '../../src/api/keys.ts'
import { openTopics } from '../../src/db/topics.ts'
import { sql } from '../../src/db/sql.ts'
import type { Database } from '../../src/db/database.ts'
import { channelId, type ChannelKey, type EnvironmentName } from '../../src/ids.ts'
import { silentLog } from '../../src/log.ts'
import { insertMessages, type NewMessage } from '../../src/messages/store.ts'
import type { InAppContent } from '../../src/steps/step.ts'
import { aChannel, aMessage, clear, saveEnvironment } from '../messages/builders.ts'
import { makeKeys, signToken } from '../support/client-keys.ts'
import { test as base } from '../support/database.ts'
import { NOW, serve, type TestServer } from './server-support.ts'

export const FEED = channelId('feed' as ChannelKey)
export const keys = makeKeys()
export const now = new Date(NOW)
export const environment = 'production' as EnvironmentName
export const key = 'pk_production_for_tests'
const content: InAppContent = {
  type: 'in_app',
  body: { content: 'Hi', rendered: '<p>Hi</p>' },
  action_url: null,
  buttons: [],
}

export const test = base.extend<{ server: TestServer }>({
  server: async ({ database }, use) => {
    await using topics = openTopics(database.url, { log: silentLog })
    await using server = await serve(database, [], {
      topics,
      allowsOrigin: originCheck(['https://app.example.com'], false),
    })
    await use(server)
  },
})

/** An environment whose users are signed for, and a public key of it. */
export async function prepare(database: Database): Promise<void> {
  await clear(database)
  const feed = aChannel({ key: 'feed' as ChannelKey, type: 'in_app', provider: 'in_app' })
  await saveEnvironment(database, { feed })
  await database.query(sql`
    update environments
    set settings = settings || ${JSON.stringify({ client_keys: { app: { pem: keys.pem } } })}::jsonb
    where name = 'production'
  `)
  await createKey(database, { environment, name: 'page', scopes: [], source: 'command', key, now })
}

export type Frame = readonly [
  joinRef: string | null,
  ref: string | null,
  topic: string,
  event: string,
  payload: Readonly<Record<string, unknown>>,
]

export interface Socket extends AsyncDisposable {
  send(frame: unknown): void
  /** The next frame that comes, or how it was closed. */
  next(): Promise<Frame | { readonly closed: number }>
}

export function address({ server }: TestServer, query: Readonly<Record<string, string>>): string {
  const parameters = new URLSearchParams({ vsn: '2.0.0', branch_slug: '', ...query })
  return `${server.url.replace('http', 'ws')}/ws/v1/websocket?${parameters.toString()}`
}

export async function open(server: TestServer, user = 'ann', claims: object = {}): Promise<Socket> {
  const user_token = signToken(keys, server.clock.now(), { sub: user, ...claims })
  const socket = new WebSocket(address(server, { api_key: key, user_token }))
  const heard: (Frame | { readonly closed: number })[] = []
  let wake: (() => void) | undefined
  const hear = (one: Frame | { readonly closed: number }) => {
    heard.push(one)
    wake?.()
  }
  socket.on('message', (data: Buffer) => hear(JSON.parse(data.toString()) as Frame))
  socket.on('close', (closed) => hear({ closed }))
  await once(socket, 'open')
  return {
    send: (frame) => socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame)),
    async next() {
      while (heard.length === 0) await new Promise<void>((resolve) => (wake = resolve))
      return heard.shift()!
    },
    async [Symbol.asyncDispose]() {
      if (socket.readyState === WebSocket.CLOSED) return
      socket.terminate()
      await once(socket, 'close')
    },
  }
}

/** How a request for a connection is answered where there is none. */
export async function refused(url: string, options: object = {}): Promise<number> {
  const socket = new WebSocket(url, options)
  const status = await new Promise<number>((resolve, reject) => {
    socket.on('unexpected-response', (_request, response) => resolve(response.statusCode ?? 0))
    socket.on('open', () => reject(new Error('it was opened')))
    socket.on('error', () => {})
  })
  socket.terminate()
  return status
}

export async function join(socket: Socket, views: object = { a: {} }, user = 'ann', ref = '1') {
  const topic = `feeds:${FEED}:${user}`
  socket.send([ref, ref, topic, 'phx_join', views])
  return { topic, reply: await socket.next() }
}

export const save = (database: Database, message: Partial<NewMessage> = {}) =>
  database.transaction(async (tx) => {
    const made = aMessage({
      content,
      channel: 'feed' as ChannelKey,
      provider: 'in_app',
      status: 'delivered',
      ...message,
    })
    await insertMessages(tx, [made], now)
    return made.id
  })

export const meta = (total: number, unread: number, unseen: number) => ({
  metadata: {
    __typename: 'FeedMetadata',
    total_count: total,
    unread_count: unread,
    unseen_count: unseen,
  },
})
