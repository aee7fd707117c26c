import { describe, expect } from 'vitest'
import { commands } from '../../src/cli/index.ts'
import { routes } from '../../src/api/index.ts'
import { NO_CONTENT, ok, type MutationRoute, type ReadRoute } from '../../src/api/route.ts'
import { RequestError } from '../../src/errors.ts'
import { channelId, type ChannelKey } from '../../src/ids.ts'
import { anEnvironment, OPERATOR, serve } from '../api/server-support.ts'
import { test } from '../support/database.ts'
import type { KeyRing } from '../../src/cli/command.ts'
import { run } from './program-support.ts'

async function saidOfData(data: string): Promise<string> {
  return (await run(['trigger', 'x', '-r', 'a', '-d', data])).error
}

function ringWith(isKnown: boolean): KeyRing {
  return {
    create: ({ isPublic }) =>
      Promise.resolve({ id: 'k1', key: isPublic ? 'pk_nope_1' : 'sk_nope_1', isKnown }),
    list: () => Promise.resolve([]),
    revoke: () => Promise.resolve(false),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

describe('a command line', () => {
  test('without a command shows them all', async () => {
    const { code, out } = await run([])
    expect(code).toBe(0)
    for (const { name, summary } of commands)
      expect(out).toContain(`  ${name.padEnd(12)}  ${summary}`)
  })

  test('shows the options of each command', async () => {
    for (const { name, options } of commands) {
      const { code, out } = await run([name, '--help'])
      expect(code).toBe(0)
      for (const option of Object.keys(options)) expect(out).toContain(`--${option}`)
      expect(out).toContain('--output')
    }
    expect((await run(['help', 'trigger'])).out).toContain('usage: belfry trigger')
  })

  test('that is misspelt exits with 2 and says what was meant', async () => {
    expect(await run(['tigger'])).toMatchObject({
      code: 2,
      out: '',
      error: expect.stringContaining('did you mean "trigger"?'),
    })
    expect(await run(['trigger', 'welcome', '--recipiant', 'ada'])).toMatchObject({
      code: 2,
      error: expect.stringContaining('did you mean "--recipient"?'),
    })
    expect(await run(['trigger'])).toMatchObject({
      code: 2,
      error: expect.stringContaining('usage: belfry trigger'),
    })
    expect(await run(['runs', '--output', 'xml'])).toMatchObject({ code: 2 })
    const inJson = await run(['tigger', '--output', 'json'])
    expect(JSON.parse(inJson.error)).toMatchObject({ error: { code: 'could_not_run' } })
  })

  test('that would switch off more than it says exits with 2', async () => {
    const argv = ['deactivate', '--all', '--channel', 'email', '-e', 'production']
    expect(await run(argv)).toMatchObject({
      code: 2,
      error: expect.stringContaining('--all is for every channel'),
    })
  })

  test('that names a file says where it cannot be read, and where it is not JSON', async () => {
    expect(await saidOfData('@/nope')).toContain('the file of --data cannot be read: ENOENT')
    expect(await saidOfData('{')).toContain('--data is not JSON')
  })

  test('that makes a key for an environment that is not there warns', async () => {
    const argv = ['keys', 'create', '--environment', 'nope']
    const warned = await run(argv, { keys: ringWith(false) })
    expect(warned).toMatchObject({ code: 0, out: 'sk_nope_1\n' })
    expect(warned.error).toContain('there is no environment "nope"')
    expect((await run(argv, { keys: ringWith(true) })).error).not.toContain('there is no')
  })

  test('that makes a public key takes no scopes for it', async () => {
    const argv = ['keys', 'create', '-e', 'nope', '--public', '--output', 'json']
    const made = await run(argv, { keys: ringWith(true) })
    expect(JSON.parse(made.out)).toMatchObject({ kind: 'public', scopes: [], key: 'pk_nope_1' })
    const refused = await run([...argv, '--scope', 'read'], { keys: ringWith(true) })
    expect(refused).toMatchObject({ code: 2, error: expect.stringContaining('has no scopes') })
  })

  test('that needs a server which is not there exits with 2', async () => {
    const { code, error } = await run(['runs'])
    expect(code).toBe(2)
    expect(error).toContain('no server answers at http://127.0.0.1:9')
  })
})

const trigger: MutationRoute = {
  id: 'things.1',
  summary: 'A thing',
  replies: { 200: {} },
  kind: 'mutation',
  method: 'POST',
  path: '/v1/workflows/:key/trigger',
  scope: 'trigger',
  environment: 'key',
  handle({ params, body, environment }) {
    if (params['key'] === 'nothing')
      throw new RequestError(404, 'workflow_missing', 'workflow "nothing" does not exist')
    return Promise.resolve(ok({ workflow_run_id: 'w1', body, environment }))
  },
}
const cancel: MutationRoute = {
  ...trigger,
  path: '/v1/workflows/:key/cancel',
  handle: () => Promise.resolve(NO_CONTENT),
}
const wake: MutationRoute = {
  ...cancel,
  path: '/v1/workflow_recipient_runs/:id/wake',
}
const replay: MutationRoute = {
  ...trigger,
  path: '/v1/workflow_recipient_runs/:id/replay',
  handle: ({ body, params }) =>
    Promise.resolve(ok({ workflow_run_id: 'w2', body, run: params['id'] })),
}
const detail: ReadRoute = {
  id: 'things.2',
  summary: 'A thing',
  replies: { 200: {} },
  kind: 'read',
  method: 'GET',
  path: '/v1/workflow_recipient_runs/:id',
  scope: 'read',
  environment: 'key',
  handle: ({ params }) =>
    Promise.resolve(
      ok({
        id: params['id'],
        workflow: 'welcome',
        workflow_run_id: 'w1',
        recipient: 'ada\u001B[2J',
        status: 'completed',
        outcome: 'failed',
        reason: 'step_failed',
        revision: 'abc',
        wakes_at: null,
        events: [
          {
            event: 'triggered',
            status: 'ok',
            step_ref: null,
            step_type: null,
            attempt: 1,
            data: null,
            inserted_at: 'T1',
          },
          {
            event: 'step_failed',
            status: 'error',
            step_ref: 'email',
            step_type: 'email',
            attempt: 3,
            data: { error: 'no such partial', none: null },
            inserted_at: 'T2',
          },
        ],
      }),
    ),
}

describe('a command that speaks to a server', () => {
  test('sends what its options say, for the environment they name', async ({ database }) => {
    await anEnvironment(database, 'development')
    await using api = await serve(database, [trigger, cancel, detail])
    const settings = { url: api.server.url, apiKey: undefined, operatorToken: OPERATOR }
    const argv = [
      'trigger',
      'welcome',
      '-r',
      'ada',
      '-r',
      'teams/core',
      '-r',
      '{"id":"bo","name":"Bo"}',
      '-d',
      '{"n":1}',
      '-e',
      'development',
      '--sandbox',
      '--output',
      'json',
    ]
    const { code, out } = await run(argv, { settings })
    expect(code).toBe(0)
    expect(JSON.parse(out)).toMatchObject({
      environment: 'development',
      body: {
        recipients: ['ada', { collection: 'teams', id: 'core' }, { id: 'bo', name: 'Bo' }],
        data: { n: 1 },
        settings: { sandbox_mode: true, skip_delay: false },
      },
    })
  })

  test('exits with 1 where it is refused, and with 2 where its key is', async ({ database }) => {
    const { key } = await anEnvironment(database, 'development')
    await using api = await serve(database, [trigger, cancel, detail])
    const settings = { url: api.server.url, apiKey: key }
    const refused = await run(['trigger', 'nothing', '-r', 'ada'], { settings })
    expect(refused).toMatchObject({ code: 1, error: expect.stringContaining('does not exist') })
    const inJson = await run(['trigger', 'nothing', '-r', 'ada', '--output=json'], { settings })
    expect(JSON.parse(inJson.error)).toMatchObject({ error: { code: 'workflow_missing' } })
    const unknown = { url: api.server.url, apiKey: 'sk_wrong' }
    expect(await run(['trigger', 'welcome', '-r', 'a'], { settings: unknown })).toMatchObject({
      code: 2,
    })
    expect(await run(['cancel', 'welcome'], { settings })).toMatchObject({ code: 2 })
    expect(await run(['cancel', 'welcome', '--key', 'k'], { settings })).toMatchObject({
      code: 0,
      out: 'cancel requested\n',
    })
  })

  test('says of a switch what the reply says', async ({ database }) => {
    const { key } = await anEnvironment(database, 'development')
    const switches: object[] = []
    const activate: MutationRoute = {
      ...trigger,
      method: 'PUT',
      path: '/v1/workflows/:key/activate',
      scope: 'operate',
      handle: () => Promise.resolve(ok({ key: 'welcome', active: true, switches })),
    }
    await using api = await serve(database, [activate])
    const settings = { url: api.server.url, apiKey: key }
    const said = async (...argv: string[]) => (await run(argv, { settings })).out
    expect(await said('activate', 'welcome')).toBe('welcome is active\n')
    switches.push({ channel: 'email', reason: null, expires_at: 'T1' })
    expect(await said('deactivate', 'welcome')).toBe('welcome is active\n')
    const off = 'is inactive until T1'
    const id = channelId('email' as ChannelKey)
    for (const name of ['email', id])
      expect(await said('deactivate', 'welcome', '--channel', name)).toContain(`${name} ${off}`)
    switches.push({ channel: null, reason: null, expires_at: null })
    expect(await said('activate', 'welcome', '--channel', 'feed')).toBe(
      'welcome on feed is inactive, as the whole workflow is\n',
    )
  })

  test('shows that all sending is off, and why', async ({ database }) => {
    await anEnvironment(database, 'production')
    await using api = await serve(database, routes)
    const settings = { url: api.server.url, apiKey: undefined, operatorToken: OPERATOR }
    const all = ['deactivate', '--all', '-e', 'production']
    expect(await run(all, { settings })).toMatchObject({
      code: 2,
      error: expect.stringContaining('--all needs --reason'),
    })
    const end = '2026-03-02T00:00:00.000Z'
    expect(await run([...all, '--reason', 'incident', '--until', end], { settings })).toMatchObject(
      { code: 0, out: `sending is off until ${end} in production\n` },
    )
    const { out } = await run(['status', 'production'], { settings })
    expect(out).toContain('OFF')
    expect(out).toContain(`production: all sending is switched off until ${end}: incident`)
  })

  test('prints each violation once', async ({ database }) => {
    const { key } = await anEnvironment(database, 'development')
    const errors = [
      { field: '/a', message: 'is missing' },
      { field: '/b', message: 'is missing' },
    ]
    const refusing: MutationRoute = {
      ...trigger,
      handle({ params }) {
        const some = errors.slice(0, params['key'] === 'one' ? 1 : 2)
        throw new RequestError(422, 'invalid_params', '/a is missing', some)
      },
    }
    await using api = await serve(database, [refusing])
    const settings = { url: api.server.url, apiKey: key }
    const said = async (name: string) =>
      (await run(['trigger', name, '-r', 'x'], { settings })).error
    expect(await said('one')).toBe('belfry: /a is missing\n')
    expect(await said('two')).toBe('belfry: /a is missing\n  /b is missing\n')
  })

  test('wakes a run, or repeats it without sending unless told to', async ({ database }) => {
    const { key } = await anEnvironment(database, 'development')
    await using api = await serve(database, [wake, replay, detail])
    const settings = { url: api.server.url, apiKey: key }
    expect(await run(['run', 'r1', '--wake'], { settings })).toMatchObject({
      code: 0,
      out: 'woken\n',
    })
    for (const more of [[], ['--send']]) {
      const argv = ['run', 'r1', '--replay', ...more, '--output=json']
      const { out } = await run(argv, { settings })
      const body = { sandbox: more.length === 0 }
      expect(JSON.parse(out)).toEqual({ workflow_run_id: 'w2', body, run: 'r1' })
    }
    for (const argv of [['--wake', '--replay'], ['--send'], ['--wake', '--send']])
      expect(await run(['run', 'r1', ...argv], { settings })).toMatchObject({ code: 2 })
  })

  test('tells a run as a story, without what would move the cursor', async ({ database }) => {
    const { key } = await anEnvironment(database, 'development')
    await using api = await serve(database, [trigger, cancel, detail])
    const { code, out } = await run(['run', 'r1'], {
      settings: { url: api.server.url, apiKey: key },
    })
    expect(code).toBe(0)
    expect(out).toContain('welcome for ada?[2J')
    expect(out).toContain('completed (failed): step_failed')
    expect(out).toContain('✓ T1                 triggered')
    expect(out).toContain('✗ T2  email (email)  step_failed (attempt 3)  error="no such partial"')
  })
})
