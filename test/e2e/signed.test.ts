import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { cloneBlank } from '../support/database.ts'
import { testRepository, type Files } from '../support/repository.ts'
import { openFleet, OPERATOR, type Served } from '../support/served.ts'

// The program as it is run where the repository does not decide about its own policy.

const run = promisify(execFile)

const workflow = (text: string): Files => ({
  'workflows/hello/workflow.yaml': `name: Hello\nsteps:\n  - ref: feed\n    type: in_app\n    body: ${text}\n`,
})

interface State {
  readonly state: string
  readonly reason: string
  readonly message: string
  readonly observed_revision: string | null
  readonly attempted_revision: string | null
  readonly diagnostics: readonly { readonly code: string; readonly message: string }[]
}

async function loadState({ url }: Served): Promise<State> {
  const headers = { authorization: `Bearer ${OPERATOR}` }
  const response = await fetch(`${url}/v1/environments/production`, { headers })
  return (await response.json()) as State
}

/** What production says once it has tried this revision. */
async function stateAt(served: Served, revision: string): Promise<State> {
  const tried = async () => {
    const { state, attempted_revision: attempted } = await loadState(served)
    return attempted === revision && state !== 'reconciling'
  }
  await expect.poll(tried, { timeout: 30_000, interval: 50 }).toBe(true)
  return loadState(served)
}

test('a policy file that enforces signatures keeps unsigned commits out, names them, and lets signed ones in', async () => {
  const clone = await cloneBlank()
  await using stack = new AsyncDisposableStack()
  stack.defer(() => clone.drop())
  await using repository = await testRepository()
  await using fleet = openFleet()
  const key = path.join(fleet.directory, 'ada')
  await run('ssh-keygen', ['-q', '-N', '', '-C', '', '-t', 'ed25519', '-f', key])
  const signers = path.join(fleet.directory, 'allowed_signers')
  await writeFile(signers, `ada@example.com ${await readFile(`${key}.pub`, 'utf8')}`)
  const policies = path.join(fleet.directory, 'policies.yaml')
  await writeFile(policies, 'production: {signatures: enforce}\n')
  await repository.git('config', 'gpg.format', 'ssh')
  await repository.git('config', 'user.signingkey', key)
  const commit = async (text: string, isSigned: boolean) => {
    await repository.git('config', 'commit.gpgsign', String(isSigned))
    return repository.commit(workflow(text))
  }
  // The repository itself asks for nothing.
  await repository.write({
    'environments/production.yaml':
      'ref: main\nchannels: {feed: {type: in_app, provider: in_app}}\n',
  })
  const first = await commit('One', true)
  const served = await fleet.serve({
    repo: repository.path,
    databaseUrl: clone.database.url,
    policyFile: policies,
    env: { BELFRY_ALLOWED_SIGNERS: signers },
  })
  expect(await stateAt(served, first)).toMatchObject({
    state: 'ready',
    reason: 'applied',
    observed_revision: first,
  })

  const unsigned = await commit('Two', false)
  const held = await stateAt(served, unsigned)
  expect(held).toMatchObject({ state: 'stalled', reason: 'unsigned', observed_revision: first })
  expect(held.message).toContain(`${unsigned.slice(0, 12)} by Ada Example <ada@example.com>`)
  expect(held.message).toContain('it has no signature')
  expect(held.diagnostics).toMatchObject([
    { code: 'unsigned', message: expect.stringContaining(unsigned.slice(0, 12)) as string },
  ])
  // A signature behind it does not cover it, and the policy cannot be loosened from inside.
  await repository.git('config', 'commit.gpgsign', 'true')
  const loosened = await repository.commit({
    'environments/production.yaml':
      'ref: main\npolicy: {signatures: off}\nchannels: {feed: {type: in_app, provider: in_app}}\n',
  })
  const still = await stateAt(served, loosened)
  expect(still).toMatchObject({ state: 'stalled', reason: 'unsigned', observed_revision: first })
  expect(still.message).toContain(unsigned.slice(0, 12))

  await repository.git('reset', '--quiet', '--hard', first)
  const signed = await commit('Two', true)
  expect(await stateAt(served, signed)).toMatchObject({
    state: 'ready',
    reason: 'applied',
    observed_revision: signed,
  })
}, 90_000)
