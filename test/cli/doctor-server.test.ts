import { readdir } from 'node:fs/promises'
import { describe, expect } from 'vitest'
import { judgeDatabase } from '../../src/cli/doctor/database.ts'
import { startEmbedded } from '../../src/db/embedded.ts'
import { newestMigration } from '../../src/db/migrate.ts'
import { sql } from '../../src/db/sql.ts'
import { deliver, github, SECRET } from '../api/hooks/deliveries.ts'
import { KEYS, openApp, OPERATOR } from '../e2e/app-support.ts'
import { cloneBlank, setReachable, test } from '../support/database.ts'
import { startHttp } from '../support/http.ts'
import { testRepository } from '../support/repository.ts'
import { examine, openPlace } from './doctor-support.ts'

const FILES = {
  'environments/production.yaml':
    '{ ref: main, channels: { feed: { type: in_app, provider: in_app } } }\n',
  'workflows/a1/workflow.yaml': 'name: A\nsteps: [{ ref: feed, type: in_app, body: hello }]\n',
}
/** What is found out about the public address. */
async function publicUrlOf(env: Readonly<Record<string, string>>): Promise<readonly string[]> {
  await using place = await openPlace()
  return (await examine(place, env)).about('public_url')
}

const NEWEST = newestMigration()

describe('doctor, beside a server', () => {
  test('asks it for its database, environments, processes and webhooks', async ({ database }) => {
    await using place = await openPlace()
    await using app = await openApp(database, {
      files: FILES,
      env: { BELFRY_WEBHOOK_SECRETS: SECRET },
    })
    await app.environment('production')
    const env = { BELFRY_REPO: app.repository.path }
    const settings = { url: app.url, operatorToken: OPERATOR, apiKey: KEYS.production }
    const before = await examine(place, env, { settings })
    expect(before.about('server')).toEqual([`ok ${app.url} answers, and is ready`])
    expect(before.about('database')).toEqual([
      expect.stringMatching(/^ok Postgres \d+\.\d+ answers/),
      `ok it is at migration ${NEWEST}`,
    ])
    expect(before.about('environments')).toContain('ok production is ready: applied')
    expect(before.about('processes')).toEqual(['ok 1 alive', 'ok one of them reads Git'])
    expect(before.about('webhooks')).toEqual([
      'warning there is a secret for them, and none has come yet',
    ])
    expect(before.code).toBe(0)

    const hook = deliver(github, github.push('main', await app.repository.tip('main')))
    const post = (headers: Record<string, string>) =>
      fetch(`${app.url}/hooks/git/github`, { method: 'POST', headers, body: hook.body })
    await post({ ...hook.headers, 'x-hub-signature-256': 'sha256=00' })
    const refused = await examine(place, env, { settings })
    expect(refused.about('webhooks')[0]).toMatch(
      /^warning of github none was taken.*bad_signature 1/,
    )
    expect((await post(hook.headers)).status).toBeLessThan(300)
    const taken = await examine(place, env, { settings })
    expect(taken.about('webhooks')[0]).toMatch(/^ok github delivered last at /)
    await database.query(sql`
      update git_hooks set last_delivery_at = now() - interval '8 days' where provider = 'github'`)
    const silent = await examine(place, env, { settings })
    expect(silent.about('webhooks')[0]).toMatch(/^warning github delivered last at /)
    expect([before, refused, taken].map(({ out }) => out).join()).not.toContain(SECRET)
    expect(taken.out).not.toContain(OPERATOR)
  })

  test('finds an environment that is stalled, and a key that may not ask for all', async ({
    database,
  }) => {
    await using place = await openPlace()
    const workflow = { 'workflows/a1/workflow.yaml': 'name: [\n' }
    await using app = await openApp(database, { files: { ...FILES, ...workflow } })
    await app.environment('production')
    const env = { BELFRY_REPO: app.repository.path, DATABASE_URL: database.url }
    const found = await examine(place, env, {
      settings: { url: app.url, apiKey: KEYS.production },
    })
    expect(found.code).toBe(1)
    expect(found.about('environments')).toContain('problem production is stalled: invalid_files')
    expect(found.about('server')[1]).toMatch(/^warning it did not tell all: /)
    // What it does not tell is seen from here.
    expect(found.about('database')).toHaveLength(2)
    const reply = await app.call('GET', '/v1/installation')
    expect(reply.status).toBe(403)
  })

  test('finds that nobody works and nobody reads Git', async () => {
    const clone = await cloneBlank()
    await using stack = new AsyncDisposableStack()
    stack.defer(() => clone.drop())
    await using place = await openPlace()
    await using app = await openApp(clone.database, {
      files: FILES,
      env: { BELFRY_ROLES: 'api' },
    })
    const settings = { url: app.url, operatorToken: OPERATOR }
    const found = await examine(place, { BELFRY_REPO: app.repository.path }, { settings })
    expect(found.code).toBe(1)
    expect(found.about('processes')).toEqual([
      'problem none works: nothing is run and nothing is sent',
      'problem none reads Git: nothing new is applied',
    ])
    await setReachable(clone.database, false)
    const cut = await examine(place, { BELFRY_REPO: app.repository.path }, { settings })
    await setReachable(clone.database, true)
    expect(cut.about('server')).toEqual([expect.stringMatching(/^problem .* is not ready/)])
  })

  test('leaves this machine alone where the server is elsewhere', async () => {
    await using place = await openPlace()
    const settings = { url: 'http://belfry.invalid:1', operatorToken: 'a-token-of-ours' }
    const found = await examine(place, {}, { settings })
    expect(found.about('git')).toEqual([])
    expect(found.about('server')[0]).toMatch(/^ok it is on another machine/)
    expect(found.about('server')[1]).toMatch(/^warning no running server was asked/)
    expect(found.code).toBe(0)
  })
})

describe('doctor, of a database', () => {
  test('finds one that does not answer, without its password', async () => {
    await using place = await openPlace()
    const DATABASE_URL = 'postgres://ada:p4ss-of-ada@127.0.0.1:1/belfry'
    const found = await examine(place, { DATABASE_URL })
    expect(found.about('database')[0]).toMatch(
      /^problem DATABASE_URL: Postgres cannot be used at 127.0.0.1:1/,
    )
    expect(found.out).not.toContain('p4ss')
  })

  test('finds one that is behind, or that a newer version has made unusable', async () => {
    const clone = await cloneBlank()
    await using stack = new AsyncDisposableStack()
    stack.defer(() => clone.drop())
    await using place = await openPlace()
    const { database } = clone
    const schema = async () =>
      (await examine(place, { DATABASE_URL: database.url })).about('database')[1]
    expect(await schema()).toBe(`ok it is at migration ${NEWEST}`)
    const newer = (isBreaking: boolean) =>
      database.query(sql`
        insert into migrations (number, name, checksum, breaking)
        values (${NEWEST + 1}, 'newer', 'x', ${isBreaking})
        on conflict (number) do update set breaking = excluded.breaking`)
    await newer(false)
    expect(await schema()).toMatch(/^ok .* which a newer version made/)
    await newer(true)
    expect(await schema()).toMatch(/^problem the database was migrated by a newer version/)
    await database.query(sql`delete from migrations where number >= ${NEWEST}`)
    expect(await schema()).toMatch(/^warning it is at migration \d+, and this program's/)
    await database.execute('alter table migrations rename to others')
    expect(await schema()).toMatch(/^ok it is empty/)
  })

  test('judges its age and its clock', () => {
    const report = { version: '14.9', major: 14, migration: 1, newest: 1, refusal: null }
    const judged = judgeDatabase({ ...report, aheadMs: -3_500 })
    expect(judged.map(({ state, message }) => `${state} ${message}`)).toEqual([
      'problem Postgres 14.9 is too old',
      'ok it is at migration 1',
      "warning its clock is 3.5 s behind this machine's",
    ])
    expect(judgeDatabase({ ...report, aheadMs: 2_100 })[2]?.message).toContain('ahead of')
    expect(judgeDatabase({ ...report, aheadMs: 1_900 })).toHaveLength(2)
  })

  test('finds the embedded one where it is, whether it runs or not, and starts none', async () => {
    await using place = await openPlace()
    const absent = await examine(place, {})
    expect(absent.about('database')).toEqual([
      `ok the first start makes a Postgres of its own in ${place.directory}`,
    ])
    expect(await readdir(place.directory)).toEqual([])
    const server = await startEmbedded(place.directory)
    const running = await examine(place, {})
    await server.stop()
    expect(running.about('database').slice(1)).toEqual([
      expect.stringMatching(/^ok Postgres \d+\.\d+ answers/),
      expect.stringMatching(/^ok it is empty/),
    ])
    const stopped = await examine(place, {})
    expect(stopped.about('database')).toEqual([
      expect.stringMatching(/^ok the embedded Postgres is in \//),
      'ok it does not run now, and starts with "belfry serve"',
    ])
  }, 30_000)
})

describe('doctor, of the public address', () => {
  test('sees whether it leads to Belfry', async ({ database }) => {
    await using repository = await testRepository()
    await repository.commit(FILES)
    await using app = await openApp(database, { files: FILES })
    await using other = await startHttp()
    expect(await publicUrlOf({ BELFRY_PUBLIC_URL: `${app.url}/` })).toEqual([
      `ok ${app.url} leads to Belfry`,
    ])
    expect(await publicUrlOf({ BELFRY_PUBLIC_URL: other.url })).toEqual([
      expect.stringMatching(/^warning .* answers, and not as Belfry does/),
    ])
    expect(await publicUrlOf({ BELFRY_PUBLIC_URL: 'http://belfry.invalid' })).toEqual([
      expect.stringMatching(/^warning .* is plain HTTP/),
      expect.stringMatching(/^warning .* does not answer/),
    ])
  })

  test('asks for one where a forge is told', async () => {
    expect(await publicUrlOf({ PORT: '4800' })).toEqual([
      'ok it is not set, which stands for http://127.0.0.1:4800; nothing links to it',
    ])
    const forge = {
      BELFRY_FORGE: 'github',
      BELFRY_FORGE_REPO: 'a/b',
      BELFRY_FORGE_TOKEN: 'a-token-1',
    }
    expect(await publicUrlOf(forge)).toEqual([
      'warning it is not set, so commit statuses link to nothing',
    ])
  })
})
