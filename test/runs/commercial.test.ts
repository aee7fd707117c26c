import { randomBytes } from 'node:crypto'
import { describe, expect } from 'vitest'
import { unsubscribe } from '../../src/api/unsubscribe.ts'
import type { Database } from '../../src/db/database.ts'
import type { EnvironmentName } from '../../src/ids.ts'
import type { Links } from '../../src/messages/links.ts'
import { sealLink } from '../../src/messages/links.ts'
import { listPreferences } from '../../src/recipients/preference-store.ts'
import { deleteRecipient, findRecipient } from '../../src/recipients/store.ts'
import { serve, type TestServer } from '../api/server-support.ts'
import { test as base } from '../support/database.ts'
import { openEngine, type Engine } from '../support/engine.ts'
import { startSmtp, type SmtpFake } from '../support/smtp.ts'

const production = 'production' as EnvironmentName
const links: Links = { publicUrl: 'https://belfry.example.com', key: randomBytes(32) }
const ANN = { id: 'ann', email: 'ann@example.com' }
const ann = { collection: '$users', id: 'ann' }

interface Scene {
  readonly engine: Engine
  readonly smtp: SmtpFake
  readonly server: TestServer
}

const test = base.extend<{ links: Links; scene: Scene }>({
  links,
  scene: async ({ database, links: made }, use) => {
    await using smtp = await startSmtp()
    const environment = `ref: main
channels:
  mail: { type: email, provider: smtp, settings: { host: 127.0.0.1, port: ${smtp.port}, from: a@example.com } }
`
    await using engine = await openEngine(database, {
      environments: { production: environment },
      links: made,
    })
    await using server = await serve(database, unsubscribe, {
      services: {
        queue: engine.queue,
        hasLookedAtGit: () => true,
        startedAt: engine.clock.now(),
        links: made,
      },
    })
    await engine.commit({
      'workflows/news/workflow.yaml': workflow('commercial: true'),
      'workflows/code/workflow.yaml': workflow('commercial: false'),
      'workflows/forced/workflow.yaml': workflow('commercial: true\noverride_preferences: true'),
      'workflows/own/workflow.yaml': workflow(
        'commercial: true',
        '\n    headers: { list-unsubscribe: "<mailto:out@example.com>" }',
      ),
    })
    await use({ engine, smtp, server })
  },
})

function workflow(head: string, more = ''): string {
  return `name: News
${head}
steps:
  - ref: mail
    type: email
    subject: News
    html: '<a href="{{vars.commercial_unsubscribe_url}}">out</a>'${more}
`
}

async function send({ engine, smtp }: Scene, key: string, recipient: object = ANN) {
  const before = smtp.mails.length
  await engine.trigger(key, { recipients: [recipient] })
  await engine.drain()
  const [mail] = smtp.mails.slice(before)
  const headers = mail?.parsed.headerLines.map(({ line }) => line.replaceAll(/\r?\n\s+/g, ' '))
  const header = (name: string) =>
    headers
      ?.find((line) => line.toLowerCase().startsWith(`${name}:`))
      ?.slice(name.length + 1)
      .trim()
  return {
    isSent: mail !== undefined,
    html: String(mail?.parsed.html ?? ''),
    list: header('list-unsubscribe'),
    post: header('list-unsubscribe-post'),
  }
}

async function subscribed(database: Database): Promise<unknown> {
  const sets = await listPreferences(database, production, ann)
  return sets.find(({ set }) => set === 'default')?.settings.commercial_subscribed
}

const path = (url: string) => new URL(url).pathname

describe('a commercial mail', () => {
  test('says how to unsubscribe with one click, and shows a link', async ({ scene }) => {
    const mail = await send(scene, 'news')
    expect(mail.post).toBe('List-Unsubscribe=One-Click')
    expect(mail.list).toMatch(/^<https:\/\/belfry\.example\.com\/unsubscribe\/[\w-]+>$/)
    expect(mail.html).toMatch(/href="https:\/\/belfry\.example\.com\/unsubscribe\/[\w-]+"/)
  })

  test.for([
    ['is not commercial', 'code'],
    ['is sent whatever people say', 'forced'],
  ] as const)('says nothing of it where the workflow %s', async ([, key], { scene }) => {
    expect(await send(scene, key)).toMatchObject({
      isSent: true,
      html: expect.stringContaining('href=""'),
      list: undefined,
      post: undefined,
    })
  })

  test('says what its step says', async ({ scene }) => {
    expect(await send(scene, 'own')).toMatchObject({
      list: '<mailto:out@example.com>',
      post: undefined,
    })
  })

  describe('without HTTPS', () => {
    test.override({ links: { ...links, publicUrl: 'http://belfry.example.com' } })

    test('has the link only, since one click needs it', async ({ scene }) => {
      expect(await send(scene, 'news')).toMatchObject({
        html: expect.stringContaining('http://belfry.example.com/unsubscribe/'),
        list: undefined,
        post: undefined,
      })
    })
  })
})

describe('the unsubscribe link', () => {
  test('shows a page when it is opened, and acts when it is posted to', async ({
    database,
    scene,
  }) => {
    const { server } = scene
    const url = path((await send(scene, 'news')).list!.slice(1, -1))
    for (const _ of [1, 2, 3]) {
      const page = await server.call('GET', url)
      expect(page.status).toBe(200)
      expect(page.headers.get('content-security-policy')).toMatch(
        /^default-src 'none'; style-src 'sha256-/,
      )
      expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8')
    }
    expect(await subscribed(database)).toBeUndefined()
    const form = { 'content-type': 'application/x-www-form-urlencoded' }
    for (const _ of [1, 2]) {
      const body = 'List-Unsubscribe=One-Click'
      expect((await server.call('POST', url, { headers: form, body })).status).toBe(200)
      expect(await subscribed(database)).toBe(false)
    }
    expect(await send(scene, 'news')).toMatchObject({ isSent: false })
    expect(await send(scene, 'code')).toMatchObject({ isSent: true })
    const back = await server.call('POST', url, { headers: form, body: 'action=subscribe' })
    expect(back.status).toBe(200)
    expect(await subscribed(database)).toBe(true)
    expect(await send(scene, 'news')).toMatchObject({ isSent: true })
  })

  test('leaves what else is set as it is', async ({ database, scene }) => {
    const preferences = { default: { categories: { news: false } } }
    const url = path((await send(scene, 'news', { ...ANN, preferences })).list!.slice(1, -1))
    await scene.server.call('POST', url)
    const [set] = await listPreferences(database, production, ann)
    expect(set?.settings).toMatchObject({
      categories: { news: false },
      commercial_subscribed: false,
    })
  })

  test('makes nobody anew who is gone', async ({ database, scene }) => {
    const url = path((await send(scene, 'news')).list!.slice(1, -1))
    await database.transaction((tx) => deleteRecipient(tx, production, ann))
    expect((await scene.server.call('POST', url)).status).toBe(200)
    expect(await findRecipient(database, production, ann)).toBeUndefined()
  })

  test('that nobody has made leads nowhere', async ({ scene: { server } }) => {
    const other = sealLink(randomBytes(32), 'unsubscribe', [production, '$users', 'ann'])
    for (const token of ['x', other]) {
      expect((await server.call('GET', `/unsubscribe/${token}`)).status).toBe(404)
      expect((await server.call('POST', `/unsubscribe/${token}`)).status).toBe(404)
    }
  })
})
