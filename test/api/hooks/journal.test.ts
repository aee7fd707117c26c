import { beforeEach, describe, expect } from 'vitest'
import { listLastDeliveries, sweepGitDeliveries } from '../../../src/api/hooks/store.ts'
import { sql } from '../../../src/db/sql.ts'
import { test } from '../../support/database.ts'
import { NOW } from '../server-support.ts'
import { deliver, github, gitlab, hmac, hosts, SECRET } from './deliveries.ts'
import { begin, serveHooks } from './hooks-support.ts'

beforeEach<{ database: Parameters<typeof begin>[0] }>(({ database }) => begin(database))

describe('what is kept of deliveries', () => {
  test('counts them by how they ended, and says when the last one came', async ({ database }) => {
    await using api = await serveHooks(database)
    const delivery = deliver(github, github.push('production'))
    await api.hook('github', delivery)
    await api.hook('github', delivery)
    await api.hook('github', deliver(github, github.push('topic')))
    api.clock.advance(1000)
    await api.hook('github', deliver(github, github.push('x'), { secret: 'another-secret' }))
    await api.hook('github', { headers: {}, body: '{}' })
    await api.hook('gitlab', { headers: gitlab.sign('', SECRET), body: '{' })
    expect(api.hooks.counts()).toEqual([
      {
        provider: 'github',
        outcomes: { queued: 1, duplicate: 1, unmatched: 1, bad_signature: 1, unsigned: 1 },
        lastDeliveryAt: new Date(NOW),
      },
      { provider: 'gitlab', outcomes: { malformed: 1 }, lastDeliveryAt: null },
    ])
    expect(await listLastDeliveries(database)).toEqual([
      { provider: 'github', lastDeliveryAt: new Date(NOW) },
    ])
  })

  test('holds no delivery that has not proved who sent it', async ({ database }) => {
    await using api = await serveHooks(database)
    const options = { id: 'the-same-id' }
    const payload = github.push('production')
    await api.hook('github', deliver(github, payload, { ...options, secret: 'another-secret' }))
    expect((await api.hook('github', deliver(github, payload, options))).status).toBe(202)
  })

  test('tells the log of a kind of refusal once a minute, and shows no secret', async ({
    database,
  }) => {
    await using api = await serveHooks(database)
    const host = hosts.find(({ provider }) => provider === 'gitea')!
    const body = JSON.stringify(host.push('production').body)
    const call = (signature: string) =>
      api.call('POST', `/hooks/git/gitea?token=${SECRET}`, {
        headers: { ...host.push('x').headers, 'x-gitea-signature': signature },
        body,
      })
    for (let index = 0; index < 5; index += 1) expect((await call('00')).status).toBe(401)
    expect(api.lines).toHaveLength(1)
    api.clock.advance(60_000)
    await call('00')
    expect(api.lines).toHaveLength(2)
    expect(api.lines[1]).toContain('"total":6')
    // A failure of ours is logged with its request, and with nothing that the request brought.
    await database.query(sql`alter table git_hooks rename to git_hooks_gone`)
    const failed = await call(hmac(body, SECRET))
    await database.query(sql`alter table git_hooks_gone rename to git_hooks`)
    expect(failed.status).toBe(500)
    expect(api.lines).toHaveLength(3)
    expect(api.lines.join('')).not.toContain(SECRET)
  })

  test('is forgotten after a day', async ({ database }) => {
    await using api = await serveHooks(database)
    await api.hook('github', deliver(github, github.push('production')))
    api.clock.advance(24 * 3600 * 1000)
    expect(await sweepGitDeliveries(database, api.clock.now())).toBe(0)
    expect(await sweepGitDeliveries(database, api.clock.advance(1))).toBe(1)
  })
})
