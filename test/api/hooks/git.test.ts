import { beforeEach, describe, expect } from 'vitest'
import { openDatabase } from '../../../src/db/database.ts'
import { sql } from '../../../src/db/sql.ts'
import { openTopics } from '../../../src/db/topics.ts'
import { silentLog } from '../../../src/log.ts'
import { RECONCILE_TOPIC } from '../../../src/reconcile/read.ts'
import { test } from '../../support/database.ts'
import { NOW } from '../server-support.ts'
import {
  AFTER,
  deliver,
  github,
  gitlab,
  hmac,
  hosts,
  SECRET,
  SIGNING_TOKEN,
  signStandard,
  type Payload,
} from './deliveries.ts'
import { begin, hints, serveHooks } from './hooks-support.ts'

const FOUND = { matched: ['production'], queued: true }
const NOTHING = { matched: [], queued: false }
const AT = new Date(NOW).getTime() / 1000

beforeEach<{ database: Parameters<typeof begin>[0] }>(({ database }) => begin(database))

/** The same with more than is read. */
function large({ headers, body }: Payload): Payload {
  return { headers, body: { ...(body as object), padding: 'x'.repeat(4 * 1024 * 1024) } }
}

describe.each(hosts)('a delivery of $provider ($idHeader)', (host) => {
  const { provider } = host

  test('of a push wakes those who follow the branch, with its commit as a hint', async ({
    database,
  }) => {
    await using api = await serveHooks(database)
    const reply = await api.hook(provider, deliver(host, host.push('production')))
    expect(reply).toMatchObject({ status: 202, body: FOUND })
    expect(await hints(database)).toEqual([`production ${AFTER}`])
  })

  test('of a push to the default branch wakes a look, whoever follows it', async ({ database }) => {
    await using api = await serveHooks(database)
    const reply = await api.hook(provider, deliver(host, host.push('main')))
    expect(reply).toMatchObject({ status: 202, body: { matched: [], queued: true } })
    expect(await hints(database)).toEqual([`main ${AFTER}`])
  })

  test('of a push to any other branch is answered 200', async ({ database }) => {
    await using api = await serveHooks(database)
    const reply = await api.hook(provider, deliver(host, host.push('topic')))
    expect(reply).toMatchObject({ status: 200, body: NOTHING })
    expect(await hints(database)).toEqual([])
  })

  test('of a tag of the name of the branch is answered 200', async ({ database }) => {
    await using api = await serveHooks(database)
    const reply = await api.hook(provider, deliver(host, host.tag('production')))
    expect(reply).toMatchObject({ status: 200, body: NOTHING })
  })

  test('of the removal of a branch wakes a look that waits for no commit', async ({ database }) => {
    await using api = await serveHooks(database)
    const reply = await api.hook(provider, deliver(host, host.removal('production')))
    expect(reply).toMatchObject({ status: 202, body: FOUND })
    expect(await hints(database)).toEqual([])
  })

  test('of a merge request wakes a look', async ({ database }) => {
    await using api = await serveHooks(database)
    const reply = await api.hook(provider, deliver(host, host.change))
    expect(reply).toMatchObject({ status: 202, body: { matched: [], queued: true } })
  })

  test('of another event is answered 200, and so is a ping', async ({ database }) => {
    await using api = await serveHooks(database)
    for (const payload of [host.other, host.ping ?? host.other]) {
      const reply = await api.hook(provider, deliver(host, payload))
      expect(reply).toMatchObject({ status: 200, body: NOTHING })
    }
    expect(await hints(database)).toEqual([])
  })

  test('is refused where it is not signed, or with another secret', async ({ database }) => {
    await using api = await serveHooks(database)
    const payload = host.push('production')
    const unsigned = { headers: payload.headers, body: JSON.stringify(payload.body) }
    const wrong = deliver(host, payload, { secret: 'a-webhook-secret-for-nobody' })
    for (const delivery of [unsigned, wrong]) {
      const reply = await api.hook(provider, delivery)
      expect(reply).toMatchObject({ status: 401, body: { code: 'webhook_signature' } })
    }
    expect(await hints(database)).toEqual([])
  })

  test('is taken with each of several secrets, and with none that was removed', async ({
    database,
  }) => {
    const [old, next] = ['the-old-webhook-secret', 'the-next-webhook-secret']
    await using both = await serveHooks(database, { secrets: [old, next] })
    await using one = await serveHooks(database, { secrets: [next] })
    const send = async (api: typeof both, secret: string) =>
      (await api.hook(provider, deliver(host, host.push('production'), { secret }))).status
    expect(await send(both, old)).toBe(202)
    expect(await send(both, next)).toBe(202)
    expect(await send(one, next)).toBe(202)
    expect(await send(one, old)).toBe(401)
  })

  test('that comes again is answered 200 and wakes nothing, for a day', async ({ database }) => {
    await using api = await serveHooks(database)
    const delivery = deliver(host, host.push('production'))
    expect((await api.hook(provider, delivery)).status).toBe(202)
    await database.query(sql`truncate git_hints`)
    const again = await api.hook(provider, delivery)
    expect(again).toMatchObject({ status: 200, body: { ...NOTHING, duplicate: true } })
    expect(await hints(database)).toEqual([])
    api.clock.advance(24 * 3600 * 1000 + 1)
    expect((await api.hook(provider, delivery)).status).toBe(202)
  })

  test('with good proof and no JSON is answered 400, but 200 to a host that would give up', async ({
    database,
  }) => {
    await using api = await serveHooks(database)
    for (const body of ['', '{', '\u{0}', '[1,', 'payload={}', '"\\ud800']) {
      const headers = { ...host.push('production').headers, ...host.sign(body, SECRET) }
      const reply = await api.hook(provider, { headers, body })
      expect(reply.status).toBe(provider === 'gitlab' ? 200 : 400)
    }
  })

  test('with good proof and anything else for fields is answered, and harms nothing', async ({
    database,
  }) => {
    await using api = await serveHooks(database)
    const odd = [null, 7, [], 'x', { ref: 7 }, { ref: 'refs/heads/' }, { changes: 7 }, { push: [] }]
    const names = ['refs/heads/\u0000', 'refs/heads/\ud800', `refs/heads/${'x'.repeat(10_000)}`]
    const bodies = [
      ...odd,
      ...names.map((ref) => ({ ref, after: AFTER, changes: [{ ref, after: AFTER }] })),
      { changes: [null, { ref: { id: 7 } }], push: { changes: [null, { new: 7, old: [] }] } },
      { ref: 'production', ref_type: 7, after: 'x', sha: {} },
    ]
    const statuses = new Set<number>()
    for (const body of bodies) {
      const { headers } = host.push('production')
      const { status } = await api.hook(provider, deliver(host, { headers, body }))
      statuses.add(status)
    }
    expect([...statuses].every((status) => status === 200 || status === 202)).toBe(true)
    expect(await hints(database)).toEqual([])
  })

  test('that is larger than what is read wakes a look without a hint, once it is proved', async ({
    database,
  }) => {
    await using api = await serveHooks(database)
    const right = deliver(host, large(host.push('topic')))
    expect(await api.hook(provider, { ...right, body: `${right.body} ` })).toMatchObject({
      status: 'x-gitlab-token' in right.headers ? 202 : 401,
    })
    expect(await api.hook(provider, deliver(host, large(host.push('topic'))))).toMatchObject({
      status: 202,
      body: { matched: [], queued: true },
    })
    expect(await hints(database)).toEqual([])
    const told = await api.hook(provider, deliver(host, large(host.change)))
    expect(told.status).toBe(202)
    // What such a call of any other kind is about says its header, where it has one.
    const other = await api.hook(provider, deliver(host, large(host.other)))
    expect([200, 202]).toContain(other.status)
  })

  test('asks Postgres nothing before it has proved who sent it', async () => {
    await using nowhere = openDatabase('postgres://nobody@127.0.0.1:1/none')
    await using api = await serveHooks(nowhere)
    const payload = host.push('production')
    const refused = await api.hook(provider, deliver(host, payload, { secret: 'not-this-one' }))
    expect(refused.status).toBe(401)
    expect((await api.hook(provider, deliver(host, payload))).status).toBe(500)
  })
})

describe('a hook', () => {
  test('wakes whoever listens, when its hints can be read', async ({ database }) => {
    await using api = await serveHooks(database)
    await using topics = openTopics(database.url, { log: silentLog })
    const { promise, resolve } = Promise.withResolvers<readonly string[]>()
    await topics.listen(RECONCILE_TOPIC, () => resolve(hints(database)))
    await api.hook('github', deliver(github, github.push('topic')))
    await api.hook('github', deliver(github, github.push('production')))
    expect(await promise).toEqual([`production ${AFTER}`])
  })

  test('is answered 401 where there is no secret', async ({ database }) => {
    await using api = await serveHooks(database, { secrets: [] })
    const reply = await api.hook('github', deliver(github, github.push('production')))
    expect(reply.status).toBe(401)
    expect(reply.body).toMatchObject({ message: expect.stringContaining('BELFRY_WEBHOOK_SECRETS') })
  })

  test('of a host that is not known is answered 404, and one that is read 405', async ({
    database,
  }) => {
    await using api = await serveHooks(database)
    const delivery = deliver(github, github.push('production'))
    for (const provider of ['sourceforge', 'GitHub', '__proto__', 'constructor', 'github/x'])
      expect((await api.hook(provider, delivery)).status).toBe(404)
    expect((await api.call('GET', '/hooks/git/github')).status).toBe(405)
  })

  test('is read as the path says and not as its headers look', async ({ database }) => {
    await using api = await serveHooks(database)
    const delivery = deliver(github, github.push('production'))
    expect((await api.hook('gitlab', delivery)).status).toBe(401)
    expect((await api.hook('gitea', delivery)).status).toBe(200)
  })

  test('is signed over its bytes and not over their meaning', async ({ database }) => {
    await using api = await serveHooks(database)
    const { headers, body } = deliver(github, github.push('production'))
    expect((await api.hook('github', { headers, body: `${body} ` })).status).toBe(401)
  })

  test('takes no SHA-1 and no cut, long or doubled digest', async ({ database }) => {
    await using api = await serveHooks(database)
    const { headers, body } = deliver(github, github.push('production'))
    const good = headers['x-hub-signature-256'] ?? ''
    const bad = [
      good.slice(0, -2),
      `${good}00`,
      `${good}, ${good}`,
      good.slice(7),
      `sha1=${good.slice(7, 47)}`,
      'sha256=',
    ]
    for (const signature of [...bad, `sha256=${'0'.repeat(64)}`]) {
      const reply = await api.hook('github', {
        headers: { ...headers, 'x-hub-signature-256': signature },
        body,
      })
      expect([signature, reply.status]).toEqual([signature, 401])
    }
    const { 'x-hub-signature-256': _, ...rest } = headers
    const sha1 = { ...rest, 'x-hub-signature': `sha1=${hmac(body, SECRET).slice(0, 40)}` }
    expect((await api.hook('github', { headers: sha1, body })).status).toBe(401)
  })

  test('of GitHub may be a form', async ({ database }) => {
    await using api = await serveHooks(database)
    const payload = github.push('production')
    const body = new URLSearchParams({ payload: JSON.stringify(payload.body) }).toString()
    const headers = { ...payload.headers, 'content-type': 'application/x-www-form-urlencoded' }
    const form = { headers: { ...headers, ...github.sign(body, SECRET) }, body }
    expect(await api.hook('github', form)).toMatchObject({ status: 202, body: FOUND })
    expect(
      (
        await api.hook('generic', {
          ...form,
          headers: { ...headers, 'x-signature': `sha256=${hmac(body, SECRET)}` },
        })
      ).status,
    ).toBe(400)
  })

  test('of Forgejo is held to its own signature where it has one', async ({ database }) => {
    await using api = await serveHooks(database)
    const payload = hosts.find(({ provider }) => provider === 'forgejo')!.push('production')
    const body = JSON.stringify(payload.body)
    const [right, wrong] = [hmac(body, SECRET), hmac(body, 'another')]
    const send = async (headers: Readonly<Record<string, string>>) =>
      (await api.hook('forgejo', { headers: { ...payload.headers, ...headers }, body })).status
    expect(await send({ 'x-gitea-signature': right })).toBe(202)
    expect(await send({ 'x-hub-signature-256': `sha256=${right}` })).toBe(202)
    expect(await send({ 'x-forgejo-signature': wrong, 'x-gitea-signature': right })).toBe(401)
  })

  test('takes any branch while no default branch is known', async ({ database }) => {
    await using api = await serveHooks(database)
    await database.query(sql`truncate reconcilers`)
    const reply = await api.hook('github', deliver(github, github.push('trunk')))
    expect(reply).toMatchObject({ status: 202, body: { matched: [], queued: true } })
  })

  test('takes no branch of an environment that is declared no more', async ({ database }) => {
    await using api = await serveHooks(database)
    await database.query(sql`update environments set declared = false where name = 'production'`)
    const reply = await api.hook('github', deliver(github, github.push('production')))
    await database.query(sql`update environments set declared = true where name = 'production'`)
    expect(reply).toMatchObject({ status: 200, body: NOTHING })
  })

  test('of several branches names all who follow them, and hints at those alone', async ({
    database,
  }) => {
    await using api = await serveHooks(database)
    const changes = ['main', 'production', 'topic'].map((name, index) => {
      return { new: { type: 'branch', name, target: { hash: `${index}`.padStart(40, 'c') } } }
    })
    const host = hosts.find(({ provider }) => provider === 'bitbucket')!
    const { headers } = host.push('main')
    const reply = await api.hook(
      'bitbucket',
      deliver(host, { headers, body: { push: { changes } } }),
    )
    expect(reply).toMatchObject({ status: 202, body: FOUND })
    expect((await hints(database)).map((hint) => hint.split(' ')[0])).toEqual([
      'main',
      'production',
    ])
  })
})

describe('a signing token of GitLab', () => {
  const body = JSON.stringify(gitlab.push('production').body)
  const signed = (options: { id?: string; at?: number; token?: string } = {}) => {
    const { id = 'msg_1', at = AT, token = SIGNING_TOKEN } = options
    return {
      headers: { ...gitlab.push('production').headers, ...signStandard(body, { id, at, token }) },
      body,
    }
  }

  test('proves a delivery of the last five minutes', async ({ database }) => {
    await using api = await serveHooks(database, { secrets: [SECRET, SIGNING_TOKEN] })
    const statuses: number[] = []
    for (const [index, at] of [AT, AT - 300, AT + 300, AT - 301, AT + 301].entries())
      statuses.push((await api.hook('gitlab', signed({ id: `msg_${index}`, at }))).status)
    expect(statuses).toEqual([202, 202, 202, 401, 401])
    expect(api.hooks.counts()).toMatchObject([{ outcomes: { queued: 3, bad_timestamp: 2 } }])
  })

  test('binds the id and the time', async ({ database }) => {
    await using api = await serveHooks(database, { secrets: [SIGNING_TOKEN] })
    const { headers } = signed()
    for (const change of [
      { 'webhook-id': 'msg_2' },
      { 'webhook-id': '' },
      { 'webhook-timestamp': String(AT - 1) },
      { 'webhook-timestamp': 'now' },
      { 'webhook-timestamp': '' },
      { 'webhook-signature': 'v1,' },
      { 'webhook-signature': `v2,${headers['webhook-signature']?.slice(3)}` },
    ]) {
      const reply = await api.hook('gitlab', { headers: { ...headers, ...change }, body })
      expect([change, reply.status]).toEqual([change, 401])
    }
    expect((await api.hook('gitlab', { headers, body })).status).toBe(202)
    expect((await api.hook('gitlab', { headers, body })).body).toMatchObject({ duplicate: true })
  })

  test('may be one of several, on both sides', async ({ database }) => {
    const other = `whsec_${Buffer.alloc(32, 9).toString('base64')}`
    await using api = await serveHooks(database, { secrets: [other, SIGNING_TOKEN] })
    const headers = {
      ...signed().headers,
      'webhook-signature': [
        `v1,${Buffer.alloc(32).toString('base64')}`,
        signed().headers['webhook-signature'],
      ].join(' '),
    }
    expect((await api.hook('gitlab', { headers, body })).status).toBe(202)
  })

  test('is not rescued by a right token beside a wrong signature', async ({ database }) => {
    await using api = await serveHooks(database, { secrets: [SECRET, SIGNING_TOKEN] })
    const { headers } = signed({ token: `whsec_${Buffer.alloc(32, 1).toString('base64')}` })
    const both = { headers: { ...headers, 'x-gitlab-token': SECRET }, body }
    expect((await api.hook('gitlab', both)).status).toBe(401)
  })
})
