import type { Report } from '../../src/channels/report.ts'
import type { Clock } from '../../src/clock.ts'
import type { Database } from '../../src/db/database.ts'
import type { ChannelKey } from '../../src/ids.ts'
import { deliver } from '../../src/messages/deliver.ts'
import { takeReports } from '../../src/messages/report-store.ts'
import type { NewMessage } from '../../src/messages/store.ts'
import { listSuppressions } from '../../src/messages/suppressions.ts'
import type { Channel } from '../../src/workflow/environment.ts'
import type { HttpFake, Responder } from '../support/http.ts'
import { aChannel, aMessage, anEmailContent, production, saveEnvironment } from './builders.ts'
import { aProcess, insert } from './harness.ts'

/** What the service answers to a mail. */
export const taken: Responder = (_request, response) => void response.end('{"id":"re-1"}')

/** A mail channel of this environment whose service is a fake. */
export async function aMailChannel(
  database: Database,
  server: Pick<HttpFake, 'url'>,
  more: Partial<Channel> = {},
): Promise<Channel> {
  const settings = { api_key: 're_123456789', from: 'hello@example.com', endpoint: server.url }
  const channel = aChannel({ type: 'email', provider: 'resend', settings, ...more })
  await saveEnvironment(database, { main: channel })
  return channel
}

/** A mail to somebody, made by a run. */
export const aMail = (to = 'ann@example.com') =>
  aMessage({ content: anEmailContent({ to }), provider: 'resend' })

interface Told {
  readonly database: Pick<Database, 'transaction'>
  readonly clock: Clock
}

interface Sending {
  readonly database: Database
  readonly clock: Clock
  readonly signal: AbortSignal
}

/** Takes reports of messages of a channel, as one call. */
export async function tell(
  { database, clock }: Told,
  channel: Channel,
  ...reports: readonly (Omit<Report, 'shown'> & { readonly shown?: unknown })[]
): Promise<number> {
  const reporting = {
    environment: production,
    channel,
    reports: reports.map((report) => ({ shown: { said: report.fate }, ...report })),
    by: { method: 'POST', path: '/hooks/channels/production/main' },
    secrets: [],
  }
  return await database.transaction((tx) => takeReports(tx, reporting, clock.now()))
}

/** Hands messages over. */
export async function send(
  { database, clock, signal }: Sending,
  ...messages: readonly NewMessage[]
) {
  const ctx = await aProcess(database, { clock, signal })
  const job = await insert(database, clock, messages)
  await deliver(ctx, job)
  return { ctx, job }
}

/** The addresses that are gone. */
export const listed = (database: Database, channel = 'main') =>
  listSuppressions(
    database,
    { environment: production, channel: channel as ChannelKey },
    { limit: 50 },
  )
