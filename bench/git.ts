import { execFile } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { sql } from '../src/db/sql.ts'
import { git } from '../test/support/repository.ts'
import {
  median,
  milliseconds,
  quantile,
  spread,
  timed,
  times,
  within,
  type Figure,
} from './figures.ts'
import { CHANNELS, openGitGround, untilApplied, workflowFiles } from './git-ground.ts'
import type { GitGround } from './git-ground.ts'

const WORKFLOWS = 10_000
const PUSHES = 200
const SAVES = 30
const PEERS = 5
const MEGABYTES_MAX = 400
const KEY = 'workflow-77'

/** What reading Git costs with many workflows, each in processes of its own; beside it what Git itself needs. */
export async function measureGit(): Promise<readonly Figure[]> {
  await using ground = await openGitGround(WORKFLOWS)
  const start = await measureStart(ground)
  const push = await measurePush(ground)
  const memory = await measureMemory(ground)
  const save = await measureSave(ground)
  return [push, save, ...start, memory]
}

/** To the applied revision, and to the end of the look where there is nothing to do. */
async function measureStart(ground: GitGround): Promise<readonly Figure[]> {
  const { bare, database } = ground
  const tip = await git(bare, 'rev-parse', 'main')
  const first = await timed(async () => {
    await using process = ground.follow(bare)
    await untilApplied(database, 'production', (revision) => revision === tip)
    await process.looked
  })
  const again: number[] = []
  for (let index = 0; index < PEERS; index += 1) {
    const process = ground.follow(bare)
    again.push(await process.looked)
    await process[Symbol.asyncDispose]()
  }
  const all = await peer(() => git(bare, 'cat-file', '--batch-all-objects', '--batch', '--buffer'))
  const listed = await peer(() => git(bare, 'ls-tree', '-r', 'main'))
  return [
    {
      what: `first import of ${WORKFLOWS} workflows, from the start of the process`,
      ours: milliseconds(first),
      beside: `${milliseconds(all)}  git cat-file of every object`,
      ratio: times(first, all),
      reach: within([first, 15_000]),
    },
    {
      what: `start on ${WORKFLOWS} unchanged workflows, once the program is loaded, p50`,
      ours: milliseconds(median(again)),
      beside: `${milliseconds(listed)}  git ls-tree -r`,
      ratio: times(median(again), listed),
      reach: within([median(again), 1_000]),
    },
  ]
}

/** From the end of `git push` to the applied revision, one workflow changed; beside it the push itself. */
async function measurePush(ground: GitGround): Promise<Figure> {
  const { bare, clone, database } = ground
  await using process = ground.follow(bare)
  await process.looked
  const applied: number[] = []
  const pushes: number[] = []
  for (let index = 0; index < PUSHES; index += 1) {
    const tip = await commit(clone, workflowFiles(KEY, `Text ${index}.`))
    pushes.push(await timed(() => git(clone, 'push', '--quiet', 'origin', 'main')))
    applied.push(
      await timed(() => untilApplied(database, 'production', (revision) => revision === tip)),
    )
  }
  return {
    what: `push to applied, ${WORKFLOWS} workflows, one changed, p50 / p99`,
    ours: spread(applied),
    beside: `${milliseconds(median(pushes))}  git push itself`,
    ratio: times(median(applied), median(pushes)),
    reach: within([median(applied), 100], [quantile(applied, 0.99), 1_000]),
  }
}

/** What a process holds that found them all applied, and one that has imported two of the three; beside it Node itself, doing nothing. */
async function measureMemory(ground: GitGround): Promise<Figure> {
  const file = `ref: main\n${CHANNELS}`
  const imported = await memoryAfter(ground, {
    'environments/staging.yaml': file,
    'environments/testing.yaml': file,
  })
  const started = await memoryAfter(ground, workflowFiles(KEY, 'The last text.'))
  const alone = await bareMemory()
  return {
    what: `resident memory with ${WORKFLOWS} workflows in 3 environments (after their import)`,
    ours: `${megabytes(started)} (${megabytes(imported)})`,
    beside: `${megabytes(alone)}  node alone`,
    ratio: times(started, alone),
    reach: { text: `<= ${MEGABYTES_MAX} MB`, met: started <= MEGABYTES_MAX * 1024 * 1024 },
  }
}

/** The memory of a new process when it has looked, and then applied a push of these files in all three. */
async function memoryAfter(
  ground: GitGround,
  files: Readonly<Record<string, string>>,
): Promise<number> {
  const { bare, clone, database } = ground
  await using process = ground.follow(bare)
  await process.looked
  const tip = await commit(clone, files)
  await git(clone, 'push', '--quiet', 'origin', 'main')
  for (const name of ['production', 'staging', 'testing']) {
    await untilApplied(database, name, (revision) => revision === tip)
  }
  return process.memory()
}

/** From the end of writing a file to the applied revision; beside it what `git status` needs to see the same. */
async function measureSave(ground: GitGround): Promise<Figure> {
  const { clone, database } = ground
  await git(clone, 'rm', '--quiet', '-r', 'environments')
  await commit(clone, { 'environments/development.yaml': CHANNELS })
  await using process = ground.follow(clone, { dev: true })
  const applied = async (name: string) => {
    const [row] = await database.query<{ sequence: string }>(
      sql`select sequence::text as sequence from environments where name = ${name}`,
    )
    return row?.sequence ?? '0'
  }
  await process.looked
  await untilApplied(database, 'development', (revision) => revision !== '')
  const live: number[] = []
  for (let index = 0; index < SAVES; index += 1) {
    const before = await applied('development')
    await write(clone, workflowFiles(KEY, `Saved ${index}.`))
    live.push(
      await timed(async () => {
        while ((await applied('development')) === before) {
          await new Promise((done) => setTimeout(done, 1))
        }
      }),
    )
    // A save comes seldom; what this one set off shall not disturb the next.
    await new Promise((done) => setTimeout(done, 200))
  }
  const status = await peer(() => git(clone, 'status', '--porcelain'))
  return {
    what: `save to live in development, ${WORKFLOWS} workflows, p50`,
    ours: milliseconds(median(live)),
    beside: `${milliseconds(status)}  git status`,
    ratio: times(median(live), status),
    reach: within([median(live), 150]),
  }
}

async function commit(clone: string, files: Readonly<Record<string, string>>): Promise<string> {
  await write(clone, files)
  await git(clone, 'add', ...Object.keys(files))
  await git(clone, 'commit', '--quiet', '--message', 'Change files')
  return git(clone, 'rev-parse', 'HEAD')
}

async function write(clone: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(clone, name)), { recursive: true })
    await writeFile(path.join(clone, name), text)
  }
}

async function bareMemory(): Promise<number> {
  const program = 'process.stdout.write(String(process.memoryUsage().rss))'
  const { stdout } = await promisify(execFile)(process.execPath, ['--eval', program])
  return Number(stdout)
}

async function peer(work: () => Promise<unknown>): Promise<number> {
  const all: number[] = []
  for (let index = 0; index < PEERS; index += 1) all.push(await timed(work))
  return median(all)
}

function megabytes(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(0)} MB`
}
