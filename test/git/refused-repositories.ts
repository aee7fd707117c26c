import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFile,
  chmod,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import type { TestRepository } from '../support/repository.ts'

/** A way in which a whole repository becomes one that cannot be read, and what is to be said of it. */
export interface Refused {
  readonly name: string
  /** Does it to a repository with the branches main, staging and production. */
  readonly spoil: (made: TestRepository) => Promise<void>
  /** What is wrong and what to do; `$` stands for the path of the repository. */
  readonly says: readonly string[]
  readonly reason: 'unsupported_repository' | 'retrying'
}

const BRANCH = 'refs/heads/production'

export const refusedRepositories: readonly Refused[] = [
  {
    name: 'refs as reftable',
    async spoil({ gitDir }) {
      // As `git init --ref-format=reftable` lays it out, which not every Git can do yet.
      await appendFile(join(gitDir, 'config'), '[extensions]\n\trefStorage = reftable\n')
      await rm(join(gitDir, 'refs'), { recursive: true })
      await mkdir(join(gitDir, 'refs'))
      await writeFile(join(gitDir, 'refs/heads'), 'this repository uses the reftable format\n')
      await mkdir(join(gitDir, 'reftable'))
      await writeFile(join(gitDir, 'HEAD'), 'ref: refs/heads/.invalid\n')
    },
    says: ['the repository $ keeps its refs as reftable', '`git refs migrate --ref-format=files`'],
    reason: 'unsupported_repository',
  },
  {
    name: 'SHA-256 ids',
    async spoil(made) {
      await rm(made.gitDir, { recursive: true })
      await made.git('init', '--quiet', '--object-format=sha256', '--initial-branch=main')
      await made.commit({})
    },
    says: ['the repository $ uses sha256 object ids', 'git init --object-format=sha1'],
    reason: 'unsupported_repository',
  },
  {
    name: 'borrowed objects',
    async spoil(made) {
      const [origin, shared] = [`${made.path}-origin.git`, `${made.path}-shared`]
      await rename(made.gitDir, origin)
      await made.git('clone', '--quiet', '--shared', origin, shared)
      await rename(join(shared, '.git'), made.gitDir)
    },
    says: [
      'the repository $ borrows objects',
      '`git repack -a -d`',
      '$/.git/objects/info/alternates',
    ],
    reason: 'unsupported_repository',
  },
  {
    name: 'an unknown extension',
    spoil: ({ gitDir }) => appendFile(join(gitDir, 'config'), '[extensions]\n\tnewest = true\n'),
    says: ['the repository $ uses the extension newest = true', 'use a clone without it'],
    reason: 'unsupported_repository',
  },
  {
    name: 'a file for its directory that names none',
    async spoil({ gitDir }) {
      await rename(gitDir, `${gitDir}-away`)
      await writeFile(gitDir, 'nothing\n')
    },
    says: ['$/.git is a file that names no Git directory', 'write "gitdir: <path>" into it'],
    reason: 'unsupported_repository',
  },
  {
    name: 'a linked work tree whose repository is gone',
    async spoil({ gitDir }) {
      await rename(gitDir, `${gitDir}-away`)
      await writeFile(gitDir, `gitdir: ${gitDir}-gone\n`)
    },
    says: ['the Git directory $/.git-gone cannot be read', '`git worktree repair`'],
    reason: 'retrying',
  },
  {
    name: 'a directory in the place of its settings',
    async spoil({ gitDir }) {
      await rm(join(gitDir, 'config'))
      await mkdir(join(gitDir, 'config'))
    },
    says: ['the repository at $ cannot be read (EISDIR', 'see that it is whole'],
    reason: 'retrying',
  },
  {
    name: 'a directory in the place of its packed refs',
    async spoil(made) {
      await made.git('pack-refs', '--all')
      await rm(join(made.gitDir, 'packed-refs'))
      await mkdir(join(made.gitDir, 'packed-refs'))
    },
    says: ['the refs in $/.git/packed-refs cannot be read (EISDIR', 'see what it is'],
    reason: 'retrying',
  },
  {
    name: 'an emptied ref',
    spoil: ({ gitDir }) => writeFile(join(gitDir, BRANCH), ''),
    says: [`the ref ${BRANCH} cannot be read: $/.git/${BRANCH} holds`, 'remove that file and set'],
    reason: 'retrying',
  },
  {
    name: 'a ref that leads in a circle',
    async spoil({ gitDir }) {
      await writeFile(join(gitDir, 'refs/heads/loop'), `ref: ${BRANCH}\n`)
      await writeFile(join(gitDir, BRANCH), 'ref: refs/heads/loop\n')
    },
    says: [`the ref ${BRANCH} of the repository $ leads in a circle`, '`git symbolic-ref`'],
    reason: 'retrying',
  },
  {
    name: 'a branch that names a file',
    spoil: (made) => nameBy(made, () => made.git('rev-parse', 'main:environments/staging.yaml')),
    says: [
      'of the repository $ cannot be read (it is a blob and should be a commit)',
      '`git fsck`',
    ],
    reason: 'retrying',
  },
  {
    name: 'a commit without a tree',
    spoil: (made) => nameBy(made, () => storedAs(made, 'commit', 'author nobody\n\nNothing\n')),
    says: ['of the repository $ cannot be read (it names no tree)', '`git fsck`'],
    reason: 'retrying',
  },
  {
    name: 'a tree that is cut short',
    spoil: (made) =>
      nameBy(made, async () => {
        const tree = await storedAs(made, 'tree', '100644 name-without-an-id\0')
        return made.git('commit-tree', '-m', 'Cut', '-p', 'main', tree)
      }),
    says: ['of the repository $ cannot be read (it is cut short)', '`git fsck`'],
    reason: 'retrying',
  },
  {
    name: 'an object that is not there',
    async spoil(made) {
      const tree = await made.git('rev-parse', 'production:workflows')
      await rm(join(made.gitDir, 'objects', tree.slice(0, 2), tree.slice(2)))
    },
    says: [
      'of the repository $ cannot be read (it is not there)',
      'bring it back from another clone',
    ],
    reason: 'retrying',
  },
  {
    name: 'a damaged pack',
    async spoil(made) {
      await made.git('repack', '-adfq')
      const directory = join(made.gitDir, 'objects/pack')
      const name = (await readdir(directory)).find((one) => one.endsWith('.pack')) ?? ''
      const bytes = await readFile(join(directory, name))
      await chmod(join(directory, name), 0o644)
      await writeFile(join(directory, name), bytes.fill(0xff, 12, bytes.length - 20))
    },
    says: ['of the repository $ cannot be read (pack-', 'bring it back from another clone'],
    reason: 'retrying',
  },
  {
    name: 'a partial clone',
    async spoil(made) {
      const [origin, partial] = [`${made.path}-origin.git`, `${made.path}-partial`]
      await rename(made.gitDir, origin)
      await made.git('-C', origin, 'config', 'uploadpack.allowFilter', 'true')
      const from = `file://${origin}`
      await made.git('clone', '--quiet', '--filter=tree:0', '--no-checkout', from, partial)
      await rename(join(partial, '.git'), made.gitDir)
    },
    says: ['of the repository $ cannot be read (it is not there)', 'made without --filter'],
    reason: 'retrying',
  },
]

/** Names by the branch what Git itself would not let it name. */
async function nameBy({ gitDir }: TestRepository, id: () => Promise<string>): Promise<void> {
  await writeFile(join(gitDir, BRANCH), `${await id()}\n`)
}

/** Stores bytes as an object of this type, whatever they are. */
async function storedAs({ path }: TestRepository, type: string, text: string): Promise<string> {
  const args = ['hash-object', '-t', type, '-w', '--literally', '--stdin']
  const child = spawn('git', args, { cwd: path, stdio: ['pipe', 'pipe', 'inherit'] })
  child.stdin.end(text)
  let id = ''
  child.stdout.on('data', (chunk: Buffer) => (id += String(chunk)))
  await once(child, 'close')
  return id.trim()
}
