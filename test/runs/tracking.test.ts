import { randomBytes } from 'node:crypto'
import { describe, expect } from 'vitest'
import { tracking } from '../../src/api/tracking.ts'
import type { EnvironmentName, MessageId } from '../../src/ids.ts'
import { findMessage, findMessageEvents } from '../../src/messages/log-store.ts'
import { sealLink } from '../../src/messages/links.ts'
import { insertShortLinks, newShortCode, sweepShortLinks } from '../../src/messages/short-links.ts'
import { serve, type TestServer } from '../api/server-support.ts'
import { test as base } from '../support/database.ts'
import { openEngine, plainEnvironment, type Engine } from '../support/engine.ts'
import { sql } from '../../src/db/sql.ts'

const production = 'production' as EnvironmentName
const links = { publicUrl: 'https://belfry.example.com', key: randomBytes(32) }

const SMS =
  '  sms: { type: sms, provider: vonage, sandbox: true, settings: { api_key: vonagekey, api_secret: not-a-real-secret, from: Shop } }\n'

interface Scene {
  readonly engine: Engine
  readonly server: TestServer
}

const test = base.extend<{ scene: Scene }>({
  scene: async ({ database }, use) => {
    await using engine = await openEngine(database, {
      links,
      environments: { production: `ref: main\n${plainEnvironment}${SMS}` },
    })
    await using server = await serve(database, tracking, {
      services: {
        queue: engine.queue,
        hasLookedAtGit: () => true,
        startedAt: engine.clock.now(),
        links,
      },
    })
    await use({ engine, server })
  },
})

/** A mail with these settings, as it is stored. */
async function mail({ engine }: Scene, settings: string) {
  await engine.commit({
    'workflows/news/workflow.yaml': `name: News
commercial: true
steps:
  - ref: mail
    type: email
    subject: News
    html: '<a href="https://example.com/{{data.page}}?a=1&amp;b=2">Look</a> <a href="{{vars.commercial_unsubscribe_url}}">out</a>'${settings}
`,
  })
  await engine.trigger('news', {
    recipients: [{ id: 'ann', email: 'ann@example.com' }],
    data: { page: 'one' },
  })
  await engine.drain()
  const [row] = await engine.database.query<{ id: MessageId; html: string }>(
    sql`select id, content ->> 'html' as html from messages where environment = ${production}`,
  )
  return row!
}

const BOTH = '\n    tracking: { opens: true, links: true }'
const pathOf = (html: string, kind: 'l' | 'o') =>
  new RegExp(`https://belfry\\.example\\.com(/${kind}/[\\w-]+)"`).exec(html)?.[1]

describe('tracking', () => {
  test('is off unless asked for', async ({ scene }) => {
    const { html } = await mail(scene, '')
    expect(html).toContain('href="https://example.com/one?a=1&amp;b=2"')
    expect(pathOf(html, 'l')).toBeUndefined()
    expect(pathOf(html, 'o')).toBeUndefined()
  })

  test('leads to where the link went, notes each click, and spares the link to unsubscribe', async ({
    database,
    scene,
  }) => {
    const { id, html } = await mail(scene, BOTH)
    expect(html).not.toContain('https://example.com/one')
    expect(html).toMatch(/href="https:\/\/belfry\.example\.com\/unsubscribe\//)
    const url = `${scene.server.server.url}${pathOf(html, 'l')}`
    for (const _ of [1, 2]) {
      const reply = await fetch(url, { redirect: 'manual' })
      expect(reply.status).toBe(302)
      expect(reply.headers.get('location')).toBe('https://example.com/one?a=1&b=2')
    }
    expect((await findMessage(database, production, id))?.linkClickedAt).toBeInstanceOf(Date)
    const events = (await findMessageEvents(database, production, id))?.events ?? []
    expect(events.filter(({ type }) => type === 'message.link_clicked')).toMatchObject([
      { data: { url: 'https://example.com/one?a=1&b=2' } },
      { data: { url: 'https://example.com/one?a=1&b=2' } },
    ])
  })

  test('notes that a mail was opened', async ({ database, scene }) => {
    const { id, html } = await mail(scene, BOTH)
    const reply = await scene.server.call('GET', pathOf(html, 'o')!)
    expect(reply).toMatchObject({ status: 200 })
    expect(reply.headers.get('content-type')).toBe('image/gif')
    const found = await findMessage(database, production, id)
    expect(found?.readAt).toBeInstanceOf(Date)
    expect(found?.linkClickedAt).toBeNull()
  })

  test('leads nowhere that we have not sealed', async ({ scene: { server } }) => {
    const parts = [production, 'x', 'https://evil.example.com/']
    const forged = sealLink(randomBytes(32), 'click', parts)
    const other = sealLink(links.key, 'open', parts)
    for (const token of [forged, other, 'https%3A%2F%2Fevil.example.com']) {
      expect((await server.call('GET', `/l/${token}`)).status).toBe(404)
    }
  })

  test('answers programs that look at a link, and counts nothing', async ({ scene }) => {
    const { id, html } = await mail(scene, BOTH)
    const at = (kind: 'l' | 'o') => `${scene.server.server.url}${pathOf(html, kind)}`
    for (const look of [
      { method: 'HEAD' },
      { headers: { 'x-purpose': 'preview' } },
      { headers: { purpose: 'preview' } },
    ]) {
      const link = await fetch(at('l'), { ...look, redirect: 'manual' })
      expect(link.status).toBe(302)
      expect(link.headers.get('location')).toBe('https://example.com/one?a=1&b=2')
      expect((await fetch(at('o'), look)).status).toBe(200)
    }
    const found = await findMessage(scene.engine.database, production, id)
    expect(found).toMatchObject({ linkClickedAt: null, readAt: null })
  })

  test('lets a browser that fetches ahead ask again when somebody follows the link', async ({
    scene,
  }) => {
    const { id, html } = await mail(scene, BOTH)
    const url = `${scene.server.server.url}${pathOf(html, 'l')}`
    for (const headers of [
      { 'sec-purpose': 'prefetch' },
      { 'sec-purpose': 'prefetch;prerender' },
      { purpose: 'prefetch' },
      { 'x-moz': 'prefetch' },
    ] as readonly Record<string, string>[]) {
      const ahead = await fetch(url, { headers, redirect: 'manual' })
      expect(ahead.status).toBe(503)
      expect(ahead.headers.get('cache-control')).toBe('no-store')
    }
    expect((await findMessage(scene.engine.database, production, id))?.linkClickedAt).toBeNull()
    expect((await fetch(url, { redirect: 'manual' })).status).toBe(302)
    const found = await findMessage(scene.engine.database, production, id)
    expect(found?.linkClickedAt).toBeInstanceOf(Date)
  })

  test('leads on although the message is gone', async ({ scene: { server } }) => {
    const parts = [production, 'gone', 'https://example.com/']
    const url = `${server.server.url}/l/${sealLink(links.key, 'click', parts)}`
    const reply = await fetch(url, { redirect: 'manual' })
    expect(reply.headers.get('location')).toBe('https://example.com/')
  })
})

/** A text message with these settings, as it is stored. */
async function text({ engine }: Scene, settings: string) {
  await engine.commit({
    'workflows/code/workflow.yaml': `name: Code
commercial: true
steps:
  - ref: text
    type: sms
    to: '+15550100000'
    body: 'See {{data.url}}, {{data.url}} (or https://example.com/b). Out: {{vars.commercial_unsubscribe_url}}'${settings}
`,
  })
  const data = { url: 'https://example.com/one?a=1&b=2' }
  await engine.trigger('code', { recipients: [{ id: 'ann' }], data })
  await engine.drain()
  const [row] = await engine.database.query<{ id: MessageId; body: string }>(
    sql`select id, content ->> 'body' as body from messages where environment = ${production}`,
  )
  return row!
}

const LINKS = '\n    tracking: { links: true }'
const SHORT = /https:\/\/belfry\.example\.com(\/s\/[\w-]{16})(?![\w-])/g
const shortPaths = (body: string) => [...body.matchAll(SHORT)].map(([, path]) => path!)

describe('links of a text message', () => {
  test('are left as they are unless asked for', async ({ scene }) => {
    const { body } = await text(scene, '')
    expect(body).toContain(
      'See https://example.com/one?a=1&b=2, https://example.com/one?a=1&b=2 (or',
    )
    expect(shortPaths(body)).toEqual([])
  })

  test('become short ones that lead where they led, and each click is noted', async ({
    database,
    scene,
  }) => {
    const { id, body } = await text(scene, LINKS)
    expect(body).not.toContain('example.com/one')
    expect(body).toContain('https://belfry.example.com/unsubscribe/')
    const [first, again, other] = shortPaths(body)
    expect(again).toBe(first)
    const to = (path = '', method = 'GET') =>
      fetch(`${scene.server.server.url}${path}`, { method, redirect: 'manual' })
    const looked = await to(first, 'HEAD')
    expect(looked.headers.get('location')).toBe('https://example.com/one?a=1&b=2')
    expect((await findMessage(database, production, id))?.linkClickedAt).toBeNull()
    expect((await to(other)).headers.get('location')).toBe('https://example.com/b')
    expect((await findMessage(database, production, id))?.linkClickedAt).toBeInstanceOf(Date)
    const events = (await findMessageEvents(database, production, id))?.events ?? []
    expect(events.filter(({ type }) => type === 'message.link_clicked')).toMatchObject([
      { data: { url: 'https://example.com/b' } },
    ])
  })

  test('lead nowhere that is not stored and signed', async ({ database, scene }) => {
    const { server } = scene
    const { id, body } = await text(scene, LINKS)
    const [path = ''] = shortPaths(body)
    const changed = `${path.slice(0, -2)}${path.endsWith('AA') ? 'BB' : 'AA'}`
    const unknown = `/s/${newShortCode(links.key)}`
    const unsigned = {
      environment: production,
      code: 'A'.repeat(16),
      message: id,
      url: 'https://evil.example.com',
    }
    await database.transaction((tx) => insertShortLinks(tx, [unsigned], scene.engine.clock.now()))
    for (const one of [
      changed,
      unknown,
      `/s/${unsigned.code}`,
      `${path}A`,
      '/s/https:%2F%2Fevil.example.com',
    ]) {
      expect((await server.call('GET', one)).status).toBe(404)
    }
  })

  test('lead on for a year, also when their message is gone', async ({ database, scene }) => {
    const { body } = await text(scene, LINKS)
    await database.query(sql`delete from messages where environment = ${production}`)
    const [path = ''] = shortPaths(body)
    const status = async () =>
      (await fetch(`${scene.server.server.url}${path}`, { redirect: 'manual' })).status
    const after = (days: number) => new Date(scene.engine.clock.now().getTime() + days * 86_400_000)
    expect(await sweepShortLinks(database, after(364))).toBe(0)
    expect(await status()).toBe(302)
    expect(await sweepShortLinks(database, after(366))).toBe(2)
    expect(await status()).toBe(404)
  })
})
