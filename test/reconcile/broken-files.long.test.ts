import { providerList } from '../../src/channels/index.ts'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { test } from '../support/database.ts'
import { figure } from '../support/figures.ts'
import { testRepository } from '../support/repository.ts'
import { brokenFiles } from '../workflow/broken-files.ts'
import { validateFiles } from '../../src/workflow/validate.ts'
import { entriesOf } from '../workflow/files.ts'
import { goodFiles } from '../workflow/good-files.ts'
import { mutants } from '../workflow/mutations.ts'
import type { BrokenFiles, Content } from '../workflow/files.ts'
import { clear, environment, scene, workflow } from './scene.ts'

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
    for (const [file, content] of Object.entries(files)) putFile(git.stdin, file, content)
    git.stdin.write('\n')
  }
  git.stdin.end()
  expect(await once(git, 'exit')).toEqual([0, null])
}

function putFile(to: NodeJS.WritableStream, file: string, content: Content): void {
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

/** Each, or one in three, of the files that the validation is tested with where it finds an error; what is wrong with a sample keeps nothing from being applied. */
async function mutated(): Promise<readonly BrokenFiles[]> {
  const all = [...(await goodFiles())].filter(([path]) => path.startsWith('workflows/'))
  const made = mutants(new Map(all), { count: 800, seed: 8 })
  return made.flatMap(({ name, files }, index) => {
    if (index % figure(1, 3) !== 0) return []
    const { diagnostics } = validateFiles(entriesOf(files), { providers: providerList })
    const found = diagnostics.find(
      ({ severity, path }) => severity === 'error' && !path.includes('/samples/'),
    )
    return found === undefined ? [] : [{ name, files, diagnostic: `${found.path}:` }]
  })
}

/** All that a run would see, in any environment. */
async function liveState(database: Database): Promise<string> {
  const environments = await database.query(
    sql`select name, settings, sequence::text, observed_revision from environments order by name`,
  )
  const workflows = await database.query(
    sql`select environment, key, version_id, archived_at from workflows order by environment, key`,
  )
  return JSON.stringify({ environments, workflows })
}

/** Whether it is about the file of an environment, which is that of production. */
function isOfProduction({ files }: BrokenFiles): boolean {
  return Object.keys(files).some((path) => path.startsWith('environments'))
}

/** Environments that get a broken revision each with one pass. */
const LANES = Array.from({ length: 20 }, (_, at) => `lane-${at}`)

test('no broken file changes what is live, and each is shown', async ({ database }) => {
  await clear(database)
  await using made = await testRepository()
  const names = ['production', ...LANES]
  const base = await made.commit({
    ...Object.fromEntries(names.map((name) => [`environments/${name}.yaml`, 'locale: en\n'])),
    'workflows/steady/workflow.yaml': workflow('Steady'),
  })
  for (const name of names) await made.git('branch', name)
  // A file that can be no environment's concerns the declarations, and no revision.
  const written = brokenFiles.filter(
    ({ diagnostic }) => !diagnostic.endsWith('.yaml:1:1 invalid_key'),
  )
  expect(brokenFiles.length - written.length).toBe(1)
  const chance = await mutated()
  expect(chance.length).toBeGreaterThan(100)
  const cases = [...written, ...chance]
  await commitAll(made.path, cases)
  const { reconciler } = await scene(database, made.path, { providers: providerList })
  await using running = reconciler
  await running.pass()
  const before = await liveState(database)
  const wrong: unknown[] = []
  const look = async (batch: readonly (readonly [name: string, index: number])[]) => {
    for (const [name, index] of batch) {
      const id = await readFile(join(made.gitDir, `refs/heads/case-${index}`))
      await writeFile(join(made.gitDir, 'refs/heads', name), id)
    }
    await running.pass()
    const isSteady = (await liveState(database)) === before
    for (const [name, index] of batch) {
      const { reason, diagnostics } = await environment(database, name)
      const { name: what, diagnostic } = cases[index] as BrokenFiles
      const [path = ''] = diagnostic.split(':')
      const isShown = diagnostics.some((one) => one.path === path && one.severity === 'error')
      if (reason !== 'invalid_files' || !isShown || !isSteady) {
        wrong.push({ what, reason, isSteady, expected: diagnostic, diagnostics })
      }
    }
  }
  const [some, others] = [true, false].map((isSome) =>
    [...cases.keys()].filter((index) => isOfProduction(cases[index] as BrokenFiles) === isSome),
  ) as [number[], number[]]
  for (const index of some) await look([['production', index]])
  for (let from = 0; from < others.length; from += LANES.length) {
    const batch = others.slice(from, from + LANES.length)
    await look(batch.map((index, at) => [LANES[at] as string, index] as const))
  }
  expect(wrong).toEqual([])
  console.log(`${cases.length} broken revisions, ${chance.length} of them by chance`)
  for (const name of names) await made.git('update-ref', `refs/heads/${name}`, base)
  await running.pass()
  for (const name of names) {
    expect(await environment(database, name)).toMatchObject({ state: 'ready', workflows: 1 })
  }
})
