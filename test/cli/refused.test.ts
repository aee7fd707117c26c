import { describe, expect } from 'vitest'
import { silentLog } from '../../src/log.ts'
import { refusedRepositories } from '../git/refused-repositories.ts'
import { commitOn, one, pipeline } from '../reconcile/promotion-support.ts'
import { clear, environment, live, scene } from '../reconcile/scene.ts'
import { test } from '../support/database.ts'
import { examine, openPlace } from './doctor-support.ts'
import { run } from './program-support.ts'

describe('a repository that cannot be read is named, with what to do', () => {
  test.for(refusedRepositories)('for $name', async ({ spoil, says, reason }, { database }) => {
    await clear(database)
    await using place = await openPlace()
    await using made = await pipeline()
    await commitOn(made, 'staging', one('alpha', 'New text'))
    await made.git('checkout', '--quiet', 'main')
    const errors: unknown[] = []
    const log = { ...silentLog, error: (message: string) => void errors.push(message) }
    const { reconciler } = await scene(database, made.path, { log, defaultBranch: 'main' })
    await using running = reconciler
    await running.pass()
    const before = await live(database, 'production')
    await commitOn(made, 'production', one('beta', 'To be applied'))
    await made.git('checkout', '--quiet', 'main')
    await spoil(made)
    const expectSaid = (text: string) => {
      const inner = text.replace(/^The /, 'the ')
      for (const said of says) expect(inner).toContain(said.replaceAll('$', made.path))
      expect(text).not.toMatch(/^\s+at /m)
    }

    const repo = ['--repo', made.path, '--default-branch', 'main']
    const plan = ['plan', '--env', 'production', '--head', 'staging', ...repo]
    for (const argv of [plan, ['promote', 'staging', 'production', '--yes', ...repo]]) {
      const ran = await run(argv)
      expect(ran).toMatchObject({ code: 2, out: '' })
      expectSaid(ran.error)
    }
    const { error } = JSON.parse((await run([...plan, '--output', 'json'])).error)
    expect(error.code).toBe('could_not_run')
    expectSaid(error.message)

    const doctor = await examine(place, { BELFRY_REPO: made.path }, { words: repo.slice(2) })
    expect(doctor.code).toBe(1)
    expectSaid(doctor.about('git').join('\n'))

    await running.pass()
    const found = await environment(database, 'production')
    expect(found.reason).toBe(reason)
    expectSaid(found.message)
    expect(await live(database, 'production')).toEqual(before)
    expect(errors).toEqual([])
  })

  test('also where no environment is known yet, by the log', async ({ database }) => {
    await clear(database)
    const [{ spoil, says }] = refusedRepositories as [(typeof refusedRepositories)[number]]
    await using made = await pipeline()
    await spoil(made)
    const errors: unknown[] = []
    const log = {
      ...silentLog,
      error: (_: string, fields?: { readonly error?: unknown }) =>
        void errors.push(String(fields?.error)),
    }
    const { reconciler } = await scene(database, made.path, { log })
    await using running = reconciler
    await running.pass()
    await running.pass()
    expect(errors).toHaveLength(1)
    for (const said of says) expect(errors[0]).toContain(said.replaceAll('$', made.path))
  })

  test('as is a directory that is not there', async () => {
    for (const argv of [
      ['validate', '/nowhere'],
      ['preview', '/nowhere/workflows/welcome'],
    ]) {
      const ran = await run(argv)
      expect(ran).toMatchObject({ code: 2, out: '' })
      expect(ran.error).toMatch(
        /^belfry: \/nowhere cannot be read \(ENOENT.*\): name the directory/,
      )
      expect(ran.error).not.toMatch(/^\s+at /m)
    }
  })
})

test('a fault of ours still says where in the code it is', async () => {
  const ran = await run(['serve'])
  expect(ran.code).toBe(2)
  expect(ran.error).toMatch(/^belfry: nothing is started in this test\nError: .*\n\s+at /)
})
