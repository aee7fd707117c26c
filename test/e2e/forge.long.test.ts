import { describe, expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { test } from '../support/database.ts'
import { FORGE_TOKEN, startForge } from '../support/fake-forge.ts'
import type { FakeForge } from '../support/fake-forge.ts'
import { serveRepository } from '../support/git-server.ts'
import { testRepository } from '../support/repository.ts'
import { openFleet } from '../support/served.ts'
import { openApp, OPERATOR } from './app-support.ts'

const FILES = {
  'environments/production.yaml':
    '{ ref: main, channels: { feed: { type: in_app, provider: in_app } } }\n',
  'workflows/a1/workflow.yaml': 'name: A\nsteps: [{ ref: feed, type: in_app, body: hello }]\n',
}
const APPLIED = 'eu-1/production/applied'
const PLAN = 'belfry/production/plan'
const TAKEOVER = { timeout: 15_000, interval: 50 }
/** Well before the forge is looked at by itself. */
const MOVED = { timeout: 5_000, interval: 20 }

function settingsOf({ settings }: FakeForge) {
  return {
    BELFRY_FORGE: settings.name,
    BELFRY_FORGE_URL: settings.url,
    BELFRY_FORGE_REPO: settings.repository,
    BELFRY_FORGE_TOKEN: FORGE_TOKEN,
  }
}

function bodyOf(text: string) {
  return {
    'workflows/a1/workflow.yaml': `name: A\nsteps: [{ ref: feed, type: in_app, body: ${text} }]\n`,
  }
}

describe('a process that tells the forge', () => {
  test('and dies in the middle is followed by one that tells it, once or twice', async ({
    database,
  }) => {
    await using forge = await startForge('github')
    await using repository = await testRepository()
    const sha = await repository.commit(FILES)
    await using fleet = openFleet()
    const env = {
      ...settingsOf(forge),
      BELFRY_INSTANCE: 'eu-1',
      BELFRY_LOG_LEVEL: 'debug',
    }
    const options = { repo: repository.path, databaseUrl: database.url, env }
    let isAsked = false
    forge.trouble = ({ method, path }) => {
      // The forge takes it, and its answer never comes.
      if (method === 'GET' || !path.includes('/statuses/')) return false
      forge.losses = 1
      isAsked = true
      return false
    }
    forge.silent = true
    const first = await fleet.serve(options)
    await expect.poll(() => isAsked, TAKEOVER).toBe(true)
    await first.kill()
    forge.trouble = undefined
    forge.silent = false
    forge.losses = 0
    const second = await fleet.serve(options)
    const told = () => forge.posts(sha, APPLIED).map(({ state }) => state)
    await expect.poll(() => told().at(-1), TAKEOVER).toBe('success')
    await expect.poll(() => forge.posts(sha, 'eu-1/production/validate').length, TAKEOVER).toBe(1)
    expect(told().length).toBeLessThanOrEqual(2)
    const rows = await database.query(sql`
      select s.* from commit_statuses s where s.environment = 'production'`)
    expect(rows).toHaveLength(2)
    expect(JSON.stringify(rows) + first.log() + second.log()).not.toContain(FORGE_TOKEN)
  }, 60_000)
})

describe('the whole program', () => {
  test('plans a pull request within seconds of a request for a look, and again when its head moves', async ({
    database,
  }) => {
    await using forge = await startForge('gitlab')
    await using app = await openApp(database, { files: FILES, env: settingsOf(forge) })
    const { repository } = app
    await repository.checkout('change')
    const change = (body: string) => repository.commit(bodyOf(body))
    const pull = forge.addPull({ base: 'main', head: 'change', headSha: await change('hi') })
    const ask = () =>
      app.call('POST', '/v1/environments/production/reconcile', { key: OPERATOR, body: {} })
    const planned = () => forge.posts(pull.headSha, PLAN).map(({ state }) => state)
    await ask()
    await expect.poll(() => planned().at(-1), TAKEOVER).toBe('success')
    await expect.poll(() => forge.comments.length, TAKEOVER).toBe(1)
    const [first] = forge.comments
    const before = first?.body
    pull.headSha = await change('hello you')
    await ask()
    await expect.poll(() => planned().at(-1), TAKEOVER).toBe('success')
    await expect.poll(() => forge.comments[0]?.body === before, TAKEOVER).toBe(false)
    expect(forge.comments).toHaveLength(1)
    expect(app.lines.join('\n')).not.toContain(FORGE_TOKEN)
  }, 60_000)

  test.for([
    // Its changes are seen at once; a remote is asked each second.
    ['github', 'refs/pull/1/head', 'a repository on its disk'],
    ['gitlab', 'refs/merge-requests/1/head', 'a remote'],
  ] as const)(
    'voids the plan of a pull request where a ref of it moves, though nobody says so: %s, %s, %s',
    { timeout: 30_000 },
    async ([name, ref, place], { database }) => {
      await using forge = await startForge(name)
      await using served = await serveRepository(FILES)
      const { work, server } = served
      const isRemote = place === 'a remote'
      await using app = await openApp(database, {
        files: {},
        env: {
          ...settingsOf(forge),
          BELFRY_REPO: isRemote ? server.url : server.bare.path,
          BELFRY_POLL_SECONDS: isRemote ? '1' : '3600',
        },
      })
      const point = (tip: string) =>
        work.git('push', '--quiet', '--force', server.bare.path, `${tip}:${ref}`)
      const said = (sha: string) => forge.posts(sha, PLAN).at(-1)?.state
      await work.checkout('change')
      const first = await work.commit(bodyOf('hi'))
      const pull = forge.addPull({ headSha: first, from: 'other/fork' })
      await point(first)
      await expect.poll(() => said(first), MOVED).toBe('success')

      const second = await work.commit(bodyOf('hi there'))
      pull.headSha = second
      await point(second)
      await expect.poll(() => [said(first), said(second)], MOVED).toEqual(['pending', 'success'])

      await work.checkout('main')
      await served.push(bodyOf('good day'))
      await expect.poll(() => said(second), MOVED).toMatch(/^fail/)
      expect(app.lines.join('\n')).not.toContain(FORGE_TOKEN)
    },
  )
})
