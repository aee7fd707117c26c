import { execFile } from 'node:child_process'
import { readFile, rm } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { cloneBlank } from '../support/database.ts'
import { call, flowFiles } from '../support/flow.ts'
import { bareClone, git, testRepository, temporaryDirectory } from '../support/repository.ts'
import { KEY, openFleet } from '../support/served.ts'

const ROOT = path.resolve(import.meta.dirname, '../..')
const shell = promisify(execFile)

test('the example of a pipeline checks, plans, merges and waits until it is live, and stops at what is wrong', async () => {
  await using stack = new AsyncDisposableStack()
  const clone = await cloneBlank()
  stack.defer(() => clone.drop())
  const work = stack.use(await testRepository())
  const hook = 'http://127.0.0.1:9'
  const files = flowFiles(hook)
  const settings = (files['environments/production.yaml'] as string).replace('ref: main\n', '')
  const environments = {
    ...files,
    'environments/production.yaml': `promotes_from: staging\n${settings}`,
    'environments/staging.yaml': settings,
  }
  await work.commit(environments)
  await work.git('branch', 'production')
  await work.checkout('staging')
  const bare = stack.use(await bareClone(work))
  await bare.git('symbolic-ref', 'HEAD', 'refs/heads/main')
  await work.git('remote', 'add', 'origin', bare.path)
  const fleet = stack.use(openFleet())
  const served = await fleet.serve({ repo: bare.path, databaseUrl: clone.database.url })

  const directory = await temporaryDirectory()
  stack.defer(() => rm(directory, { recursive: true, force: true }))
  const pipeline = async () => {
    // As a pipeline does: from a fresh clone.
    const checkout = path.join(directory, `clone-${await work.tip('staging')}`)
    await git(directory, 'clone', '--quiet', '--branch', 'staging', bare.path, checkout)
    const env = {
      PATH: `${path.dirname(process.execPath)}:${process.env['PATH']}`,
      HOME: directory,
      GIT_AUTHOR_NAME: 'Pipeline',
      GIT_AUTHOR_EMAIL: 'pipeline@example.com',
      GIT_COMMITTER_NAME: 'Pipeline',
      GIT_COMMITTER_EMAIL: 'pipeline@example.com',
      BELFRY_COMMAND: `${process.execPath} ${ROOT}/src/main.ts`,
      BELFRY_URL: served.url,
      BELFRY_API_KEY: KEY,
      PLAN_FILE: path.join(directory, 'plan.md'),
      WAIT_SECONDS: '20',
    }
    const script = path.join(ROOT, 'scripts/ci-example.sh')
    const run = shell(script, ['staging', 'production'], { cwd: checkout, env })
    return run.then(
      ({ stdout }) => ({ code: 0, stdout, stderr: '' }),
      (error: { code: number; stdout: string; stderr: string }) => error,
    )
  }

  await work.commit({
    'workflows/direct/workflow.yaml':
      'name: Shorter\nsteps:\n  - ref: feed\n    type: in_app\n    body: Hello\n',
  })
  await work.git('push', '--quiet', 'origin', 'staging')
  const good = await pipeline()
  expect({ code: good.code, stderr: good.stderr }).toEqual({ code: 0, stderr: '' })
  const revision = await bare.tip('production')
  expect(good.stdout).toContain(`production is at ${revision}`)
  expect(await readFile(path.join(directory, 'plan.md'), 'utf8')).toContain('direct')
  expect(await call(served.url, { path: '/v1/workflows/direct' })).toMatchObject({
    body: { revision, name: 'Shorter' },
  })

  // A broken file stops it before anything is merged.
  await work.commit({ 'workflows/direct/workflow.yaml': 'name: [' })
  await work.git('push', '--quiet', 'origin', 'staging')
  const bad = await pipeline()
  expect(bad.code).toBe(1)
  expect(`${bad.stdout}${bad.stderr}`).toContain('workflows/direct/workflow.yaml:1')
  expect(await bare.tip('production')).toBe(revision)
}, 60_000)
