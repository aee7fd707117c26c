import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Files by path. Null removes one; `{ link }` makes a symbolic link. */
export type Files = Readonly<Record<string, string | Uint8Array | null | { readonly link: string }>>

/** A real repository in a temporary directory, made with the real `git`. */
export interface TestRepository extends AsyncDisposable {
  /** The work tree, or the bare directory. */
  readonly path: string
  readonly gitDir: string
  /** Runs git in it and answers its output without the last line break. */
  git(...args: readonly string[]): Promise<string>
  /** Writes into the work tree and commits nothing. */
  write(files: Files): Promise<void>
  /** Writes, stages and commits all on the branch that is checked out; answers the commit's id. */
  commit(files: Files, message?: string): Promise<string>
  /** Checks a branch out, and makes it from here where it is new. */
  checkout(branch: string): Promise<void>
  /** Merges `from` into `into`, and goes back to the branch that was checked out; answers the new tip. */
  merge(from: string, into: string): Promise<string>
  /** Reverts the tip of the branch that is checked out; answers the new tip. */
  revert(): Promise<string>
  tip(branch: string): Promise<string>
}

let ticks = 0

/** An environment in which no setting of this machine counts, and commits are a second apart. */
function gitEnvironment(): NodeJS.ProcessEnv {
  ticks += 1
  const date = `${1_767_225_600 + ticks} +0000`
  return {
    PATH: process.env['PATH'],
    HOME: '/nonexistent',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_AUTHOR_NAME: 'Ada Example',
    GIT_AUTHOR_EMAIL: 'ada@example.com',
    GIT_COMMITTER_NAME: 'Ada Example',
    GIT_COMMITTER_EMAIL: 'ada@example.com',
    GIT_AUTHOR_DATE: date,
    GIT_COMMITTER_DATE: date,
  }
}

/** Runs git in a directory and answers its output without the last line break. */
export async function git(directory: string, ...args: readonly string[]): Promise<string> {
  const { stdout } = await run('git', [...args], {
    cwd: directory,
    env: gitEnvironment(),
    maxBuffer: 64 * 1024 * 1024,
  })
  return stdout.replace(/\n$/, '')
}

/** A new directory; whoever asks for it removes it. */
export async function temporaryDirectory(): Promise<string> {
  return realpath(await mkdtemp(join(tmpdir(), 'belfry-git-')))
}

/** Makes a repository with a work tree on the branch `main`, without a commit. */
export async function testRepository(): Promise<TestRepository> {
  const parent = await temporaryDirectory()
  const path = join(parent, 'repository')
  await mkdir(path)
  await git(path, 'init', '--quiet', '--initial-branch=main')
  await git(path, 'config', 'gc.auto', '0')
  return repositoryAt(path, parent)
}

/** A bare clone of `from`, which follows it by `git push`. */
export async function bareClone(from: TestRepository): Promise<TestRepository> {
  const parent = await temporaryDirectory()
  const path = join(parent, 'bare.git')
  await git(parent, 'clone', '--quiet', '--bare', from.path, path)
  return { ...repositoryAt(path, parent), gitDir: path }
}

function repositoryAt(path: string, parent: string): TestRepository {
  const own = (...args: readonly string[]) => git(path, ...args)
  const tip = (branch: string) => own('rev-parse', `refs/heads/${branch}`)
  return {
    path,
    gitDir: join(path, '.git'),
    git: own,
    write: (files) => writeFiles(path, files),
    async commit(files, message = 'Change files') {
      await writeFiles(path, files)
      await own('add', '--all')
      await own('commit', '--quiet', '--allow-empty', '--message', message)
      return own('rev-parse', 'HEAD')
    },
    async checkout(branch) {
      const known = await own('branch', '--list', branch)
      await own('checkout', '--quiet', ...(known === '' ? ['-b', branch] : [branch]))
    },
    async merge(from, into) {
      const before = await own('symbolic-ref', '--short', 'HEAD')
      await own('checkout', '--quiet', into)
      await own('merge', '--quiet', '--no-edit', from)
      await own('checkout', '--quiet', before)
      return tip(into)
    },
    async revert() {
      await own('revert', '--no-edit', 'HEAD')
      return own('rev-parse', 'HEAD')
    },
    tip,
    [Symbol.asyncDispose]: () => rm(parent, { recursive: true, force: true }),
  }
}

async function writeFiles(root: string, files: Files): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    const full = join(root, path)
    if (content === null) {
      await rm(full, { recursive: true, force: true })
      continue
    }
    await mkdir(dirname(full), { recursive: true })
    if (typeof content === 'string' || content instanceof Uint8Array) await writeFile(full, content)
    else await symlink(content.link, full)
  }
}
