import { expect } from 'vitest'
import { channelHook, openChannelHooks } from '../../../src/api/hooks/channels.ts'
import { openDoor, type Door } from '../../../src/channels/door.ts'
import type { Database } from '../../../src/db/database.ts'
import { sql } from '../../../src/db/sql.ts'
import type { ChannelKey, MessageId } from '../../../src/ids.ts'
import { openLog } from '../../../src/log.ts'
import type { Channel } from '../../../src/workflow/environment.ts'
import { serve, type TestServer } from '../../api/server-support.ts'
import { aChannel, aMessage, production } from '../../messages/builders.ts'
import { insert } from '../../messages/harness.ts'
import { testClock } from '../../support/clock.ts'
import { test as base } from '../../support/database.ts'
import { startHttp, type HttpFake } from '../../support/http.ts'
import { NOW, reportCases, snsCertificate, type ReportCase } from './reports.ts'

export const PUBLIC_URL = 'https://belfry.example.com/notify'
/** Where the channel `main` is reported to. */
export const path = '/hooks/channels/production/main'

export interface Scene {
  readonly database: Database
  readonly server: TestServer
  /** What SNS was asked for. */
  readonly asked: string[]
  /** Every line of the log. */
  readonly lines: string[]
}

/** A server, and SNS as it answers from somewhere else. */
export const test = base.extend<{ scene: Scene }>({
  scene: [
    async ({ database }, use) => {
      const clock = testClock(NOW)
      const asked: string[] = []
      const lines: string[] = []
      await using sns = await startHttp((request, response) => {
        response.end(request.path.endsWith('.pem') ? snsCertificate.pem : '<Confirmed/>')
      })
      await using door = openDoor({ allow: [], loopback: true })
      const log = openLog({
        level: 'debug',
        write: (line) => void lines.push(line),
        human: false,
        mask: (text) => text,
        clock,
      })
      const channelHooks = openChannelHooks({
        door: leadingTo(sns, door, asked),
        publicUrl: PUBLIC_URL,
        clock,
        log,
      })
      const secrets: Record<string, string> = Object.assign(
        {},
        ...reportCases.map(({ provider, secrets: own }) =>
          Object.fromEntries(
            Object.entries(own).map(([name, value]) => [
              `${name}_${provider.toUpperCase()}`,
              value,
            ]),
          ),
        ),
      )
      await using server = await serve(database, [channelHook], {
        clock,
        log,
        services: {
          queue: undefined as never,
          hasLookedAtGit: () => true,
          startedAt: NOW,
          findSecret: (environment, name) =>
            environment === production ? secrets[name] : undefined,
          channelHooks,
        },
      })
      await use({ database, server, asked, lines })
    },
    { scope: 'file' },
  ],
})

/** The way to SNS leads here; who asks for another host gets nowhere. */
function leadingTo(sns: HttpFake, door: Door, asked: string[]): Pick<Door, 'request'> {
  return {
    request(url, options) {
      asked.push(url)
      const { origin, pathname } = new URL(url)
      expect(origin).toBe('https://sns.eu-central-1.amazonaws.com')
      return door.request(`${sns.url}${pathname}`, options)
    },
  }
}

/** The secrets of a case under the names by which the server knows them. */
export function settingsOf({ provider, settings }: ReportCase): Readonly<Record<string, unknown>> {
  const text = JSON.stringify(settings)
  return JSON.parse(
    text.replaceAll(/"secret":"(\w+)"/g, `"secret":"$1_${provider.toUpperCase()}"`),
  ) as Record<string, unknown>
}

export function channelOf(one: ReportCase, key = 'main'): Channel {
  const { provider } = one
  const { type } = one.content
  return aChannel({ provider, type, key: key as ChannelKey, settings: settingsOf(one) })
}

/** A message of the case that its provider has taken. */
export async function aSentMessage(
  database: Database,
  { content, provider }: ReportCase,
  more: { readonly channel?: ChannelKey } = {},
): Promise<MessageId> {
  const message = aMessage({ content, provider, ...more })
  await insert(database, testClock(NOW), [message])
  await database.query(sql`
    update messages set status = 'sent', attempt = 1, due_at = null, enqueued_at = null
    where id = ${message.id}`)
  return message.id
}
