import { execFile } from 'node:child_process'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, beforeEach, describe, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { test } from '../support/database.ts'
import { temporaryDirectory, testRepository } from '../support/repository.ts'
import type { Files, TestRepository } from '../support/repository.ts'
import { clear, environment, scene, workflow } from './scene.ts'

const run = promisify(execFile)
const FEED = 'channels:\n  feed: {type: in_app, provider: in_app}\n'

let keys = ''
const line = { ada: '', forge: '' }

beforeAll(async () => {
  keys = await temporaryDirectory()
  for (const name of ['ada', 'forge'] as const) {
    await run('ssh-keygen', ['-q', '-N', '', '-C', '', '-t', 'ed25519', '-f', join(keys, name)])
    const key = await readFile(join(keys, `${name}.pub`), 'utf8')
    line[name] = `${name}@example.com ${key.trim()}\n`
  }
})

afterAll(() => rm(keys, { recursive: true, force: true }))

beforeEach<{ database: Database }>(({ database }) => clear(database))

const text = (content: string): Files => ({ 'workflows/a1/workflow.yaml': workflow(content) })

/** Commits, signed by the key of this name. */
async function signed(made: TestRepository, by: 'ada' | 'forge', files: Files) {
  await made.git('config', 'gpg.format', 'ssh')
  await made.git('config', 'user.signingkey', join(keys, by))
  await made.git('config', 'commit.gpgsign', 'true')
  const tip = await made.commit(files)
  await made.git('config', 'commit.gpgsign', 'false')
  return tip
}

/** Production with one applied revision; its history before is unsigned. */
async function production(database: Database, policy: string) {
  const made = await testRepository()
  const declaration = `policy: {signatures: ${policy}}\n${FEED}`
  await made.commit({ 'environments/production.yaml': declaration, ...text('Unsigned') })
  await made.checkout('production')
  const first = await signed(made, 'ada', text('One'))
  const signers = join(keys, 'signers')
  await writeFile(signers, line.ada)
  const { reconciler } = await scene(database, made.path, { allowedSigners: [signers] })
  const look = async () => {
    await reconciler.pass()
    return environment(database, 'production')
  }
  await look()
  return { made, first, signers, look }
}

const isHeld = { state: 'stalled', reason: 'unsigned' }

describe('signatures that are enforced', () => {
  test('begin at the tip of the first import, and keep who has signed', async ({ database }) => {
    const { made, first, look } = await production(database, 'enforce')
    await using _ = made
    expect(await look()).toMatchObject({ reason: 'applied', observedRevision: first })
    const rows = await database.query(sql`select signer from revisions where environment <> ''`)
    expect(rows).toEqual([{ signer: 'ada@example.com' }])
  })

  test('hold back a commit without one, in the middle too, and say which it is', async ({
    database,
  }) => {
    const { made, first, look } = await production(database, 'enforce')
    await using _ = made
    await signed(made, 'ada', text('Two'))
    const middle = await made.commit(text('Three'))
    const tip = await signed(made, 'ada', text('Four'))
    const held = await look()
    expect(held).toMatchObject({
      ...isHeld,
      observedRevision: first,
      attemptedRevision: tip,
      diagnostics: [{ code: 'unsigned', severity: 'error' }],
    })
    expect(held.message).toContain(
      `Revision ${tip.slice(0, 12)} brings a commit without a signature of an allowed signer: ${middle.slice(0, 12)} by Ada Example <ada@example.com>: it has no signature.`,
    )
    await made.git('reset', '--quiet', '--hard', first)
    const again = await signed(made, 'ada', text('Four'))
    expect(await look()).toMatchObject({ reason: 'applied', observedRevision: again })
  })

  test('cover merged commits and the merge itself, whose key is to be listed like any other', async ({
    database,
  }) => {
    const { made, signers, look } = await production(database, 'enforce')
    await using _ = made
    await made.checkout('topic')
    await signed(made, 'ada', text('Two'))
    await made.git('checkout', '--quiet', 'production')
    await made.git('config', 'user.signingkey', join(keys, 'forge'))
    await made.git('merge', '--quiet', '--no-ff', '--no-edit', '--gpg-sign', 'topic')
    const held = await look()
    expect(held).toMatchObject(isHeld)
    expect(held.message).toMatch(/brings a commit .* is none of the allowed signers/)
    // It is judged anew as soon as the list is another one.
    await writeFile(signers, `${line.ada}${line.forge}`)
    expect(await look()).toMatchObject({
      reason: 'applied',
      observedRevision: await made.tip('production'),
    })

    await made.checkout('other')
    await made.commit(text('Three'))
    await made.git('checkout', '--quiet', 'production')
    await made.git('merge', '--quiet', '--no-ff', '--no-edit', '--gpg-sign', 'other')
    expect(await look()).toMatchObject(isHeld)
  })

  test('fail closed where the list cannot be read, and say why', async ({ database }) => {
    const { made, first, signers, look } = await production(database, 'enforce')
    await using _ = made
    await rm(signers)
    const tip = await signed(made, 'ada', text('Two'))
    const gone = await look()
    expect(gone).toMatchObject({ ...isHeld, observedRevision: first, attemptedRevision: tip })
    expect(gone.message).toContain(`cannot be checked: ENOENT`)
    await writeFile(
      signers,
      `# ours\nada@example.com cert-authority ${line.ada.split(' ').slice(1).join(' ')}`,
    )
    expect((await look()).message).toContain(`${signers}:2 cert-authority is not supported`)
    await writeFile(signers, line.ada)
    expect(await look()).toMatchObject({ reason: 'applied', observedRevision: tip })
  })

  test('fail closed where no list is named', async ({ database }) => {
    await using made = await testRepository()
    await made.commit({
      'environments/production.yaml': `ref: main\npolicy: {signatures: enforce}\n${FEED}`,
    })
    const { reconciler } = await scene(database, made.path)
    await reconciler.pass()
    expect(await environment(database, 'production')).toMatchObject({
      ...isHeld,
      observedRevision: null,
      message: expect.stringContaining('BELFRY_ALLOWED_SIGNERS names no file') as string,
    })
  })

  test('let a branch pass that only goes back to what was applied', async ({ database }) => {
    const { made, first, look } = await production(database, 'enforce')
    await using _ = made
    await signed(made, 'ada', text('Two'))
    await look()
    await made.git('reset', '--quiet', '--hard', first)
    expect(await look()).toMatchObject({ reason: 'applied', observedRevision: first })
  })

  test('are not loosened by the branch that they guard', async ({ database }) => {
    const { made, look } = await production(database, 'enforce')
    await using _ = made
    await made.commit({ 'environments/production.yaml': FEED, ...text('Two') })
    expect(await look()).toMatchObject(isHeld)
    await made.commit({}, 'Go on')
    expect(await look()).toMatchObject(isHeld)
  })
})

describe('signatures that are only watched', () => {
  test('apply what has none, with a warning for each commit, until the next revision', async ({
    database,
  }) => {
    const { made, look } = await production(database, 'warn')
    await using _ = made
    const one = await made.commit(text('Two'))
    const tip = await made.commit(text('Three'))
    const found = await look()
    expect(found).toMatchObject({ reason: 'applied', observedRevision: tip })
    expect(found.diagnostics).toMatchObject([
      { code: 'unsigned', severity: 'warning', message: expect.stringContaining(one.slice(0, 12)) },
      { code: 'unsigned', message: expect.stringContaining(tip.slice(0, 12)) as string },
    ])
    await signed(made, 'ada', text('Four'))
    expect(await look()).toMatchObject({ reason: 'applied', diagnostics: [] })
  })
})
