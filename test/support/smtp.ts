import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { callbackify } from 'node:util'
import { simpleParser } from 'mailparser'
import type { ParsedMail } from 'mailparser'
import { SMTPServer } from 'smtp-server'
import type { SMTPServerOptions } from 'smtp-server'

/** A mail as a real server took it: its envelope, its bytes, and what a mail program makes of it. */
export interface TakenMail {
  readonly from: string
  readonly to: readonly string[]
  readonly raw: string
  readonly parsed: ParsedMail
}

export interface SmtpFake extends AsyncDisposable {
  readonly port: number
  readonly mails: readonly TakenMail[]
  /** How many connections were opened. */
  readonly connections: number
}

export interface SmtpFakeOptions extends SMTPServerOptions {
  /** The answer to the n-th mail's data, from 0: an error with `responseCode`, or nothing for 250. */
  readonly answer?: (index: number) => Error | undefined | Promise<Error | undefined>
}

/** Starts a mail server on a free port of the loopback. */
export async function startSmtp(options: SmtpFakeOptions = {}): Promise<SmtpFake> {
  const { answer, ...settings } = options
  const mails: TakenMail[] = []
  let connections = 0
  const server = new SMTPServer({
    authOptional: true,
    disableReverseLookup: true,
    closeTimeout: 100,
    // In the clear unless a test asks for more: the library warns of its built-in certificate.
    disabledCommands: ['STARTTLS'],
    allowInsecureAuth: true,
    onConnect(_session, callback) {
      connections += 1
      callback()
    },
    onData(stream, session, callback) {
      const chunks: Buffer[] = []
      stream.on('data', (chunk: Buffer) => chunks.push(chunk))
      stream.once('end', () => {
        const raw = Buffer.concat(chunks)
        const take = async (): Promise<Error | undefined> => {
          const index = mails.length
          mails.push({
            from: session.envelope.mailFrom ? session.envelope.mailFrom.address : '',
            to: session.envelope.rcptTo.map(({ address }) => address),
            raw: raw.toString(),
            parsed: await simpleParser(raw),
          })
          return await answer?.(index)
        }
        const reply = callbackify(take)
        reply((error, refusal) => callback(error ?? refusal ?? null))
      })
    },
    ...settings,
  })
  // A client that hangs up in the middle is what some tests are about.
  server.on('error', () => {})
  server.listen(0, '127.0.0.1')
  await once(server.server, 'listening')
  const { port } = server.server.address() as AddressInfo
  return {
    port,
    mails,
    get connections() {
      return connections
    },
    async [Symbol.asyncDispose]() {
      await new Promise<void>((resolve) => server.close(resolve))
    },
  }
}

/** An error that the server gives as its answer. */
export function smtpAnswer(code: number, text: string): Error {
  return Object.assign(new Error(text), { responseCode: code })
}
