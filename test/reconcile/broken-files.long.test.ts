import { providerList } from '../../src/channels/index.ts'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { test } from '../support/database.ts'
import { testRepository } from '../support/repository.ts'
import { brokenFiles } from '../workflow/broken-files.ts'
import { validateFiles } from '../../src/workflow/validate.ts'
import { entriesOf } from '../workflow/files.ts'
import { goodFiles } from '../workflow/good-files.ts'
import { mutants } from '../workflow/mutations.ts'
import type { BrokenFiles, Content } from '../workflow/files.ts'
import { clear, environment, live, scene, workflow } from './scene.ts'

/** Commits each of them alone, on the branches `case-0` and following, each on top of `main`. */
async function commitAll(path: string, cases: readonly BrokenFiles[]): Promise<void> {
  const git = spawn('git', ['fast-import', '--quiet'], {
    cwd: path,
    stdio: ['pipe', 'ignore', 'inherit'],
  })
  for (const [index, { files }] of cases.entries()) {
    git.stdin.write(`commit refs/heads/case-${index}\n`)
    git.stdin.write('committer Ada Example <ada@example.com> 1767225600 +0000\ndata 0\n')
    git.stdin.write('from refs/heads/main^0\n')
    for (const [file, content] of Object.entries(files)) writeFile(git.stdin, file, content)
    git.stdin.write('\n')
  }
  git.stdin.end()
  expect(await once(git, 'exit')).toEqual([0, null])
}

function writeFile(to: NodeJS.WritableStream, file: string, content: Content): void {
  if (typeof content === 'object' && 'mode' in content && content.mode === '160000') {
    to.write(`M 160000 ${'1'.repeat(40)} ${file}\n`)
    return
  }
  const isLink = typeof content === 'object' && 'mode' in content
  const bytes = isLink ? Buffer.from('elsewhere') : Buffer.from(content as string)
  to.write(`M ${isLink ? '120000' : '100644'} inline ${file}\ndata ${bytes.length}\n`)
  to.write(bytes)
  to.write('\n')
}

/** One in eight of the files that the validation is tested with, where it finds an error; what is wrong with a sample keeps nothing from being applied. */
async function mutated(): Promise<readonly BrokenFiles[]> {
  const all = [...(await goodFiles())].filter(([path]) => path.startsWith('workflows/'))
  const made = mutants(new Map(all), { count: 800, seed: 8 })
  return made.flatMap(({ name, files }, index) => {
    if (index % 8 !== 0) return []
    const { diagnostics } = validateFiles(entriesOf(files), { providers: providerList })
    const found = diagnostics.find(
      ({ severity, path }) => severity === 'error' && !path.includes('/samples/'),
    )
    return found === undefined ? [] : [{ name, files, diagnostic: `${found.path}:` }]
  })
}

/** All that a run would see of the environment. */
async function liveState(database: Database): Promise<string> {
  const rows = await database.query(
    sql`select settings, sequence, observed_revision from environments where name = 'production'`,
  )
  return JSON.stringify({ rows, workflows: await live(database, 'production') })
}

test('no broken file changes what is live, and each is shown', async ({ database }) => {
  await clear(database)
  await using made = await testRepository()
  const base = await made.commit({
    'environments/production.yaml': 'locale: en\n',
    'workflows/steady/workflow.yaml': workflow('Steady'),
  })
  await made.git('branch', 'production')
  // A file that can be no environment's concerns the declarations, and no revision.
  const cases = brokenFiles.filter(
    ({ diagnostic }) => !diagnostic.endsWith('.yaml:1:1 invalid_key'),
  )
  expect(brokenFiles.length - cases.length).toBe(1)
  const more = await mutated()
  expect(more.length).toBeGreaterThan(25)
  cases.push(...more)
  await commitAll(made.path, cases)
  const options = { providers: providerList }
  const { reconciler } = await scene(database, made.path, options)
  await reconciler.pass()
  const before = await liveState(database)
  const wrong: unknown[] = []
  for (const [index, { name, diagnostic }] of cases.entries()) {
    await made.git('update-ref', 'refs/heads/production', `refs/heads/case-${index}`)
    await reconciler.pass()
    const { reason, diagnostics } = await environment(database, 'production')
    const [path = ''] = diagnostic.split(':')
    const isShown = diagnostics.some((one) => one.path === path && one.severity === 'error')
    const isSteady = (await liveState(database)) === before
    if (reason !== 'invalid_files' || !isShown || !isSteady) {
      wrong.push({ name, reason, isSteady, expected: diagnostic, diagnostics })
    }
  }
  expect(wrong).toEqual([])
  await made.git('update-ref', 'refs/heads/production', base)
  await reconciler.pass()
  expect(await environment(database, 'production')).toMatchObject({ state: 'ready', workflows: 1 })
}, 60_000)
