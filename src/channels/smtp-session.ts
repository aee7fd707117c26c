import { Readable } from 'node:stream'
import type { Socket } from 'node:net'
import SMTPConnection from 'nodemailer/lib/smtp-connection'
import type { Door } from './door.ts'
import type { Mail } from './mail.ts'
import { isLoopback } from './target.ts'

/** How to reach one mail server. */
export interface ServerSettings {
  readonly host: string
  readonly port: number
  readonly tls: 'auto' | 'implicit' | 'starttls' | 'none'
  readonly username: string | undefined
  readonly password: string | undefined
}

/** How far a hand-over came when it failed. */
export type Phase = 'connect' | 'login' | 'envelope' | 'data'

/** A hand-over that failed; `reply` is the server's answer, where it gave one. */
export class SmtpError extends Error {
  override readonly name = 'SmtpError'
  readonly phase: Phase
  readonly reply: { readonly code: number; readonly text: string } | null
  /** Whom the server will not take it for, where its answer is about that. */
  readonly recipient: string | null

  constructor(
    phase: Phase,
    message: string,
    about: Partial<Pick<SmtpError, 'reply' | 'recipient'>> = {},
  ) {
    super(message)
    this.phase = phase
    this.reply = about.reply ?? null
    this.recipient = about.recipient ?? null
  }
}

/** What the server took: its answer, and the recipients it refused. */
export interface Receipt {
  readonly response: string
  readonly refused: readonly { readonly address: string; readonly error: SmtpError }[]
}

interface Session {
  readonly connection: SMTPConnection
  readonly socket: Socket
  sent: number
  idle: NodeJS.Timeout | undefined
}

const CONNECT_MS = 10_000
const GREETING_MS = 10_000
const SILENCE_MS = 25_000
const IDLE_MS = 5_000
const MAILS_PER_SESSION_MAX = 100
const IDLE_SESSIONS_MAX = 20

/** Idle sessions of each door, by server and credentials. They close with the door. */
const pools = new WeakMap<Door, Map<string, Session[]>>()

/**
 * Hands one mail to the server, over an idle session where there is one.
 * Throws an `SmtpError`, or a `DoorError` where no connection came about.
 */
export async function transmit(
  mail: Mail,
  server: ServerSettings,
  door: Door,
  signal: AbortSignal,
): Promise<Receipt> {
  const pool = poolOf(door)
  const key = JSON.stringify(server)
  const reused = take(pool, key)
  if (reused) {
    try {
      return await sendOver(reused, mail, { pool, key, signal })
    } catch (error) {
      // The server closed the idle session before it took anything: nothing is lost by a new one.
      const stale = error instanceof SmtpError && error.phase === 'envelope' && error.reply === null
      if (!stale || signal.aborted) throw error
    }
  }
  return await sendOver(await open(server, door, signal), mail, { pool, key, signal })
}

async function open(server: ServerSettings, door: Door, signal: AbortSignal): Promise<Session> {
  const socket = await door.connect(server.host, server.port, { signal, connectMs: CONNECT_MS })
  const secure = server.tls === 'implicit' || (server.tls === 'auto' && server.port === 465)
  const local = server.tls === 'auto' && isLoopback(socket.remoteAddress ?? '')
  const connection = new SMTPConnection({
    connection: socket,
    host: server.host,
    port: server.port,
    secure,
    requireTLS: server.tls === 'starttls' || (server.tls === 'auto' && !secure && !local),
    ignoreTLS: server.tls === 'none',
    // Within one machine there is nobody to be protected from, and test servers sign for themselves.
    ...(local && { tls: { rejectUnauthorized: false } }),
    connectionTimeout: CONNECT_MS,
    greetingTimeout: GREETING_MS,
    socketTimeout: SILENCE_MS,
    socketCloseTimeout: 1_000,
    maxResponseSize: 64 * 1024,
  })
  const session: Session = { connection, socket, sent: 0, idle: undefined }
  await stage(session, 'connect', signal, (done) => connection.connect(done))
  const { username, password } = server
  if (username !== undefined) {
    await stage(session, 'login', signal, (done) => {
      if (!connection.allowsAuth) return done(new Error('the server takes no credentials here'))
      connection.login({ user: username, pass: password ?? '' }, done)
    })
  }
  return session
}

interface Use {
  readonly pool: Map<string, Session[]>
  readonly key: string
  readonly signal: AbortSignal
}

async function sendOver(session: Session, mail: Mail, use: Use): Promise<Receipt> {
  let phase: Phase = 'envelope'
  // Read only once the server has asked for the data: from then on it may have the mail.
  const source = new Readable({
    read() {
      phase = 'data'
      this.push(mail.raw)
      this.push(null)
    },
  })
  const envelope = { from: mail.from, to: [...mail.recipients], size: mail.raw.length }
  const info = await stage<SendInfo>(
    session,
    () => phase,
    use.signal,
    (done) =>
      session.connection.send(envelope, source, (error, taken) => {
        // Where all are refused, what counts is what was said of the person that the mail is for.
        const refused = (error as SendError | null)?.rejectedErrors ?? []
        done(refused.find(({ recipient }) => recipient === mail.to) ?? error, taken)
      }),
  )
  session.sent += 1
  giveBack(session, use)
  return {
    response: info.response,
    refused: (info.rejectedErrors ?? []).map((error) => ({
      address: error.recipient ?? '',
      error: smtpError('envelope', error),
    })),
  }
}

interface SendInfo {
  readonly response: string
  readonly rejectedErrors?: readonly ServerError[] | undefined
}

type SendError = Error & Pick<SendInfo, 'rejectedErrors'>

interface ServerError extends Error {
  readonly responseCode?: number | undefined
  readonly response?: string | undefined
  readonly recipient?: string | undefined
}

/** Runs one step of the dialogue. When it fails, or the time is over, the session is closed. */
async function stage<T = unknown>(
  session: Session,
  phase: Phase | (() => Phase),
  signal: AbortSignal,
  run: (done: (error?: ServerError | null, result?: T) => void) => void,
): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const current = () => (typeof phase === 'string' ? phase : phase())
  const fail = (error: ServerError) => reject(smtpError(current(), error))
  const abort = () => fail(new Error('no answer from the mail server in time'))
  session.connection.on('error', fail)
  signal.addEventListener('abort', abort, { once: true })
  if (signal.aborted) abort()
  try {
    run((error, result) => (error ? fail(error) : resolve(result as T)))
    return await promise
  } catch (error) {
    close(session)
    throw error
  } finally {
    signal.removeEventListener('abort', abort)
    session.connection.off('error', fail)
    // A session that breaks later, while idle, is thrown away when it is taken.
    if (session.connection.listenerCount('error') === 0) session.connection.on('error', () => {})
  }
}

function smtpError(phase: Phase, error: ServerError): SmtpError {
  const code = error.responseCode ?? 0
  const reply = code > 0 ? { code, text: error.response ?? '' } : null
  return new SmtpError(phase, error.message, { reply, recipient: error.recipient ?? null })
}

function poolOf(door: Door): Map<string, Session[]> {
  const known = pools.get(door)
  if (known) return known
  const pool = new Map<string, Session[]>()
  pools.set(door, pool)
  door.onClose(() => {
    for (const sessions of pool.values()) for (const session of sessions) close(session)
    pool.clear()
  })
  return pool
}

function take(pool: Map<string, Session[]>, key: string): Session | undefined {
  const sessions = pool.get(key) ?? []
  for (;;) {
    const session = sessions.pop()
    if (!session) return undefined
    clearTimeout(session.idle)
    session.socket.ref()
    if (!session.connection.destroyed && session.socket.writable) return session
    close(session)
  }
}

function giveBack(session: Session, { pool, key, signal }: Use): void {
  const sessions = pool.get(key) ?? []
  const full = sessions.length >= IDLE_SESSIONS_MAX || session.sent >= MAILS_PER_SESSION_MAX
  if (full || signal.aborted || session.connection.destroyed) return quit(session)
  pool.set(key, sessions)
  sessions.push(session)
  // An idle session must not keep a process alive that has nothing else to do.
  session.socket.unref()
  session.idle = setTimeout(() => {
    sessions.splice(sessions.indexOf(session), 1)
    if (sessions.length === 0) pool.delete(key)
    quit(session)
  }, IDLE_MS).unref()
}

function quit(session: Session): void {
  if (session.connection.destroyed) return close(session)
  session.connection.quit()
}

function close(session: Session): void {
  clearTimeout(session.idle)
  session.connection.close()
  session.socket.destroy()
}
