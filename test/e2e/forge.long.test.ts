import { describe, expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { test } from '../support/database.ts'
import { FORGE_TOKEN, startForge } from '../support/fake-forge.ts'
import { testRepository } from '../support/repository.ts'
import { openFleet } from '../support/served.ts'
import { openApp, OPERATOR } from './app-support.ts'

const FILES = {
  'environments/production.yaml':
    '{ ref: main, channels: { feed: { type: in_app, provider: in_app } } }\n',
  'workflows/a1/workflow.yaml': 'name: A\nsteps: [{ ref: feed, type: in_app, body: hello }]\n',
}
const APPLIED = 'eu-1/production/applied'
const TAKEOVER = { timeout: 15_000, interval: 50 }

describe('a process that tells the forge', () => {
  test('and dies in the middle is followed by one that tells it, once or twice', async ({
    database,
  }) => {
    await using forge = await startForge('github')
    await using repository = await testRepository()
    const sha = await repository.commit(FILES)
    await using fleet = openFleet()
    const env = {
      BELFRY_FORGE: 'github',
      BELFRY_FORGE_URL: forge.settings.url,
      BELFRY_FORGE_REPO: forge.settings.repository,
      BELFRY_FORGE_TOKEN: FORGE_TOKEN,
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
    await using app = await openApp(database, {
      files: FILES,
      env: {
        BELFRY_FORGE: 'gitlab',
        BELFRY_FORGE_URL: forge.settings.url,
        BELFRY_FORGE_REPO: forge.settings.repository,
        BELFRY_FORGE_TOKEN: FORGE_TOKEN,
      },
    })
    const { repository } = app
    await repository.checkout('change')
    const change = (body: string) =>
      repository.commit({
        'workflows/a1/workflow.yaml': `name: A\nsteps: [{ ref: feed, type: in_app, body: ${body} }]\n`,
      })
    const pull = forge.addPull({ base: 'main', head: 'change', headSha: await change('hi') })
    const ask = () =>
      app.call('POST', '/v1/environments/production/reconcile', { key: OPERATOR, body: {} })
    const planned = () =>
      forge.posts(pull.headSha, 'belfry/production/plan').map(({ state }) => state)
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
})
