import { readdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test as base } from 'vitest'
import { RetryableFailure } from '../../src/errors.ts'
import { UnsupportedRepository } from '../../src/git/location.ts'
import {
  AuthenticationFailure,
  MissingRepository,
  SourceClosed,
} from '../../src/git/remote-failure.ts'
import { RemoteRepository } from '../../src/git/remote.ts'
import type { RemoteLimits } from '../../src/git/remote.ts'
import type { Revision } from '../../src/ids.ts'
import { parseRemoteAddress } from '../../src/remote-address.ts'
import { fsck, serveRepository, startGitServer } from '../support/git-server.ts'
import type { GitServer } from '../support/git-server.ts'
import { bareClone, git, temporaryDirectory, testRepository } from '../support/repository.ts'

const FILES = {
  'workflows/welcome/workflow.yaml': 'name: Welcome\n',
  'environments/production.yaml': 'ref: main\n',
}

const test = base.extend<{ directory: string }>({
  // oxlint-disable-next-line no-empty-pattern -- vitest reads the pattern
  directory: async ({}, use) => {
    const path = await temporaryDirectory()
    await use(path)
    await rm(path, { recursive: true, force: true })
  },
})

async function seen(remote: RemoteRepository): Promise<string> {
  return (await remote.refs()).fingerprint()
}

function openAt(
  server: GitServer,
  directory: string,
  limits: Partial<RemoteLimits> = {},
): Promise<RemoteRepository> {
  const address = parseRemoteAddress(server.url, server.credentials ?? {})
  return RemoteRepository.open({ address, directory, limits })
}

/** The content of a file of a workflow, read through the mirror. */
async function contentOf(remote: RemoteRepository, tip: string | null): Promise<string> {
  const tree = await remote.tree(tip as Revision)
  const [entry] = await tree.list('welcome')
  const contents = await tree.read([entry?.blob ?? ''])
  return Buffer.from(contents.get(entry?.blob ?? '') ?? []).toString()
}

describe.each([
  ['the second protocol', false],
  ['the first protocol', true],
])('a remote that speaks %s', (_, isOld) => {
  test('is read from a mirror that follows it', async ({ directory }) => {
    await using served = await serveRepository(FILES)
    served.server.isOld = isOld
    await using remote = await openAt(served.server, directory)
    const refs = await remote.refs()
    expect(refs.head).toBe('main')
    const first = await refs.tip('main')
    expect(first).toBe(await served.work.tip('main'))
    expect(refs.headRevision).toBe(first)
    expect(await contentOf(remote, first)).toBe('name: Welcome\n')
    expect(await refs.tip('absent')).toBeNull()
    const second = await served.push({ 'workflows/welcome/workflow.yaml': 'name: Hello\n' })
    const next = await (await remote.refs()).tip('main')
    expect(next).toBe(second)
    expect(await contentOf(remote, next)).toBe('name: Hello\n')
    expect(await contentOf(remote, first)).toBe('name: Welcome\n')
    expect(await fsck(remote.location.gitDir)).toBe('')
  })

  test('may have no commit yet', async ({ directory }) => {
    await using work = await testRepository()
    await using server = await startGitServer(await bareClone(work))
    server.isOld = isOld
    await using remote = await openAt(server, directory)
    expect(await (await remote.refs()).tip('main')).toBeNull()
    await work.commit(FILES)
    await work.git('push', '--quiet', server.bare.path, 'main')
    expect(await (await remote.refs()).tip('main')).toBe(await work.tip('main'))
  })

  test('with SHA-256 ids is refused as what it is', async ({ directory }) => {
    await using work = await testRepository()
    await using server = await startGitServer(await bareClone(work))
    server.isOld = isOld
    await rm(server.bare.path, { recursive: true })
    const parent = join(server.bare.path, '..')
    await git(parent, 'init', '--quiet', '--object-format=sha256', 'other')
    await git(join(parent, 'other'), 'commit', '--quiet', '--allow-empty', '--message', 'One')
    await git(parent, 'clone', '--quiet', '--bare', join(parent, 'other'), server.bare.path)
    await using remote = await openAt(server, directory)
    const looking = remote.refs()
    await expect(looking).rejects.toThrow(UnsupportedRepository)
    await expect(looking).rejects.toThrow(`${server.url}: the remote repository uses sha256`)
  })
})

describe('asking', () => {
  test('takes two requests where nothing has changed, and three for any number of new commits', async ({
    directory,
  }) => {
    const branches = Array.from({ length: 10 }, (_, index) => `env-${index}`)
    await using served = await serveRepository(FILES, branches)
    const { server, work } = served
    await using remote = await openAt(server, directory)
    await (await remote.refs()).want?.(branches)
    server.forget()
    for (let look = 0; look < 3; look += 1) {
      const refs = await remote.refs()
      for (const branch of branches) expect(await refs.tip(branch)).not.toBeNull()
      await remote.knownRefs()
    }
    expect(server.count()).toBe(6)
    expect(server.count('fetch')).toBe(0)
    for (const branch of branches) {
      await work.checkout(branch)
      await served.push({ [`workflows/${branch}/workflow.yaml`]: `name: ${branch}\n` })
    }
    server.forget()
    const refs = await remote.refs()
    for (const branch of branches) expect(await refs.tip(branch)).toBe(await work.tip(branch))
    expect(server.requests.map(({ step }) => step)).toEqual(['advertise', 'list', 'fetch'])
  })

  test('shows moved heads of pull requests in the same requests, where they are asked for', async ({
    directory,
  }) => {
    await using served = await serveRepository(FILES)
    const { server, work } = served
    const tips = [await work.tip('main'), await work.commit({ 'README.md': 'More.' })]
    const point = (name: string, tip = '') =>
      work.git('push', '--quiet', '--force', server.bare.path, `${tip}:refs/pull/${name}`)
    await point('1/head', tips[0])
    const address = parseRemoteAddress(server.url, {})
    const limits = { pullsMax: 2 }
    const options = { address, directory, pullRefs: 'refs/pull/', limits }
    await using remote = await RemoteRepository.open(options)
    await using other = await openAt(server, `${directory}/other`)
    const [before, fromOther] = [await seen(remote), await seen(other)]
    await point('1/merge', tips[0])
    expect(await seen(remote)).toBe(before)
    await point('1/head', tips[1])
    server.forget()
    const after = await seen(remote)
    expect(after).not.toBe(before)
    expect(server.requests.map(({ step }) => step)).toEqual(['advertise', 'list'])
    expect(await seen(other)).toBe(fromOther)
    // Of too many it is not told again and again.
    await point('2/head', tips[1])
    await seen(remote)
    server.forget()
    expect(await seen(remote)).toBe(fromOther)
    expect(server.requests.map(({ body }) => body).join('')).not.toContain('refs/pull/')
  })

  test('gets no branch that nobody follows, and sends no second time what is here', async ({
    directory,
  }) => {
    await using served = await serveRepository(FILES)
    const { server, work } = served
    await using remote = await openAt(server, directory)
    await (await remote.refs()).tip('main')
    await work.checkout('feature')
    await served.push({ 'big.txt': 'feature\n'.repeat(1000) })
    server.forget()
    const refs = await remote.refs()
    await refs.tip('main')
    expect(server.count('fetch')).toBe(0)
    expect(await refs.tip('feature')).toBe(await work.tip('feature'))
    expect(server.count('fetch')).toBe(1)
    await work.checkout('main')
    await served.push({ 'note.txt': 'small' })
    server.forget()
    await (await remote.refs()).tip('main')
    expect(server.requests.at(-1)?.sent).toBeLessThan(700)
  })

  test('lists other refs and gets their commits', async ({ directory }) => {
    await using served = await serveRepository(FILES)
    const { server, work } = served
    await work.checkout('topic')
    const tip = await work.commit({ 'workflows/welcome/workflow.yaml': 'name: Proposed\n' })
    await work.git('push', '--quiet', server.bare.path, 'topic:refs/pull/7/head')
    await using remote = await openAt(server, directory)
    const pulls = await remote.list('refs/pull/')
    expect([...pulls]).toEqual([['refs/pull/7/head', tip]])
    await remote.obtain([...pulls.values()])
    expect(await contentOf(remote, tip)).toBe('name: Proposed\n')
  })
})

describe('what happens to a remote', () => {
  test('is followed: force-push, a removed branch, another history, a repack', async ({
    directory,
  }) => {
    await using served = await serveRepository(FILES, ['production'])
    const { server, work } = served
    await using remote = await openAt(server, directory)
    await (await remote.refs()).want?.(['main', 'production'])
    await work.git('commit', '--quiet', '--amend', '--message', 'Other')
    const amended = await served.push({ 'workflows/welcome/workflow.yaml': 'name: Forced\n' })
    await server.bare.git('reflog', 'expire', '--expire=now', '--all')
    await server.bare.git('gc', '--quiet', '--prune=now')
    expect(await (await remote.refs()).tip('main')).toBe(amended)
    expect(await contentOf(remote, amended)).toBe('name: Forced\n')
    await server.bare.git('branch', '--quiet', '-D', 'production')
    expect(await (await remote.refs()).tip('production')).toBeNull()
    await using other = await testRepository()
    const unrelated = await other.commit({ 'workflows/welcome/workflow.yaml': 'name: Foreign\n' })
    server.bare = await bareClone(other)
    expect(await (await remote.refs()).tip('main')).toBe(unrelated)
    expect(await contentOf(remote, unrelated)).toBe('name: Foreign\n')
    expect(await fsck(remote.location.gitDir)).toBe('')
  })

  test('names another default branch', async ({ directory }) => {
    await using served = await serveRepository(FILES, ['trunk'])
    await using remote = await openAt(served.server, directory)
    expect((await remote.refs()).head).toBe('main')
    await served.server.bare.git('symbolic-ref', 'HEAD', 'refs/heads/trunk')
    expect((await remote.refs()).head).toBe('trunk')
  })
})

describe('the mirror', () => {
  test('is private, and outlives the process without being had again', async ({ directory }) => {
    await using served = await serveRepository(FILES)
    const first = await openAt(served.server, directory)
    await (await first.refs()).tip('main')
    const at = first.location.gitDir
    expect((await stat(directory)).mode & 0o77).toBe(0)
    expect((await stat(join(at, '..'))).mode & 0o77).toBe(0)
    await first.close()
    served.server.forget()
    await using second = await openAt(served.server, directory)
    const tip = await (await second.refs()).tip('main')
    expect(await contentOf(second, tip)).toBe('name: Welcome\n')
    expect(served.server.count('fetch')).toBe(0)
  })

  test('is not shared by two that are open at once', async ({ directory }) => {
    await using served = await serveRepository(FILES)
    await using first = await openAt(served.server, directory)
    await using second = await openAt(served.server, directory)
    expect(first.location.gitDir).not.toBe(second.location.gitDir)
    await Promise.all([first.refs(), second.refs()])
    const [root = ''] = await readdir(directory)
    expect(await readdir(join(directory, root))).toHaveLength(2)
  })

  test('holds few packs, and is readable while it is made anew', async ({ directory }) => {
    await using served = await serveRepository(FILES)
    await using remote = await openAt(served.server, directory, { packsMax: 3 })
    const old = await remote.tree((await (await remote.refs()).tip('main')) as Revision)
    const places = new Set<string>()
    for (let round = 0; round < 8; round += 1) {
      const tip = await served.push({ 'workflows/welcome/workflow.yaml': `name: ${round}\n` })
      expect(await (await remote.refs()).tip('main')).toBe(tip)
      expect(await contentOf(remote, tip)).toBe(`name: ${round}\n`)
      // Read to its end by whoever has begun, also where the mirror was changed in between.
      if (round < 3) await old.list('welcome')
      places.add(remote.location.gitDir)
      const packs = await readdir(join(remote.location.gitDir, 'objects', 'pack'))
      expect(packs.filter((name) => name.endsWith('.pack')).length).toBeLessThanOrEqual(3)
    }
    expect(places.size).toBeGreaterThan(2)
    // Beside the one that counts, at most the one before it.
    const generations = await readdir(join(remote.location.gitDir, '..'))
    expect(generations.filter((name) => /^g\d+$/.test(name)).length).toBeLessThanOrEqual(2)
    expect(await fsck(remote.location.gitDir)).toBe('')
  })

  test('follows on with one more pack where it cannot be made anew', async ({ directory }) => {
    await using served = await serveRepository(FILES)
    const { server } = served
    await using remote = await openAt(server, directory, { packsMax: 1 })
    await (await remote.refs()).tip('main')
    server.trouble = ({ step, body }) =>
      step === 'fetch' && !body.includes('have ') ? { kind: 'status', status: 500 } : undefined
    const tip = await served.push({ 'workflows/welcome/workflow.yaml': 'name: Next\n' })
    expect(await (await remote.refs()).tip('main')).toBe(tip)
    expect(await contentOf(remote, tip)).toBe('name: Next\n')
  })

  test('is had again when it was removed, or something in it is gone', async ({ directory }) => {
    await using served = await serveRepository(FILES)
    await using remote = await openAt(served.server, directory)
    const tip = await (await remote.refs()).tip('main')
    await rm(join(directory), { recursive: true })
    expect(await (await remote.refs()).tip('main')).toBe(tip)
    expect(await contentOf(remote, tip)).toBe('name: Welcome\n')
    const packs = join(remote.location.gitDir, 'objects', 'pack')
    await rm(packs, { recursive: true })
    const reading = contentOf(remote, tip)
    await expect(reading).rejects.toThrow(RetryableFailure)
    await expect(reading).rejects.toThrow(/^http.*\.git: the object .*: it is fetched anew/)
    expect(await (await remote.refs()).tip('main')).toBe(tip)
    expect(await contentOf(remote, tip)).toBe('name: Welcome\n')
  })

  test('that was damaged while nobody had it open is had again', async ({ directory }) => {
    await using served = await serveRepository(FILES)
    const first = await openAt(served.server, directory)
    const tip = await (await first.refs()).tip('main')
    const at = first.location.gitDir
    await first.close()
    const [root = ''] = await readdir(directory)
    const [free = ''] = await readdir(join(directory, root))
    const generation = join(directory, root, free, at.split('/').at(-1) ?? '')
    await rm(join(generation, 'objects', 'pack'), { recursive: true })
    await using second = await openAt(served.server, directory)
    expect(await (await second.refs()).tip('main')).toBe(tip)
    expect(await contentOf(second, tip)).toBe('name: Welcome\n')
    expect(await readFile(join(second.location.gitDir, 'packed-refs'), 'utf8')).toContain(tip)
  })
})

describe('a remote that refuses', () => {
  test.each([
    [401, AuthenticationFailure],
    [403, AuthenticationFailure],
    [404, MissingRepository],
    [500, RetryableFailure],
    [429, RetryableFailure],
  ])('with %i is told apart, and heals by itself', async (status, failure) => {
    const directory = await temporaryDirectory()
    await using served = await serveRepository(FILES)
    await using remote = await openAt(served.server, directory)
    for (const step of ['advertise', 'list', 'fetch']) {
      served.server.trouble = (request) =>
        request.step === step ? { kind: 'status', status } : undefined
      await expect(remote.refs()).rejects.toThrow(failure)
    }
    served.server.trouble = () => undefined
    expect(await (await remote.refs()).tip('main')).toBe(await served.work.tip('main'))
    await rm(directory, { recursive: true })
  })

  test('lets go of whoever waits for it when it is closed', async ({ directory }) => {
    await using served = await serveRepository(FILES)
    served.server.trouble = () => ({ kind: 'silence' })
    const remote = await openAt(served.server, directory)
    const looking = remote.refs().catch((error: unknown) => error)
    await remote.close()
    expect(await looking).toBeInstanceOf(SourceClosed)
    await expect(remote.refs()).rejects.toThrow(SourceClosed)
  })
})
