import { execFile } from 'node:child_process'
import { chmod, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { RetryableFailure } from '../../src/errors.ts'
import { ObjectStore, sizeOfStore } from '../../src/git/object-store.ts'
import { blobId } from '../../src/git/objects.ts'
import { openRepository } from '../../src/git/repository.ts'
import type { Revision } from '../../src/ids.ts'
import { temporaryDirectory, testRepository } from '../support/repository.ts'
import type { TestRepository } from '../support/repository.ts'
import { importHistory, objectsByGit, thinPack } from './object-support.ts'
import type { MadeCommit } from './object-support.ts'

const run = promisify(execFile)

/** A file that changes a little with each commit, so that its versions are kept as a chain of deltas. */
function chain(commits: number): MadeCommit[] {
  const lines = Array.from({ length: 200 }, (_, at) => `line ${at} of the file\n`)
  return Array.from({ length: commits }, (_, at) => {
    lines[(at * 7) % lines.length] = `changed by commit ${at}\n`
    return { files: { 'workflows/a/long.hbs': lines.join(''), 'workflows/b/n.txt': `${at}` } }
  })
}

async function packed(commits: number): Promise<TestRepository> {
  const made = await testRepository()
  await importHistory(made.gitDir, chain(commits))
  await made.git('repack', '-adfq', '--depth=250', '--window=50')
  return made
}

async function expectSameAsGit({ gitDir }: TestRepository): Promise<number> {
  const store = new ObjectStore(join(gitDir, 'objects'))
  const objects = await objectsByGit(gitDir)
  for (const [id, { type, content }] of objects) {
    const found = store.read(id)
    if (found.kind !== 'found') throw new Error(`${id}: ${JSON.stringify(found)}`)
    expect(found.object.type).toBe(type)
    expect(found.object.content.equals(content)).toBe(true)
  }
  return objects.size
}

async function packFiles({ gitDir }: TestRepository, ending: string): Promise<string[]> {
  const directory = join(gitDir, 'objects/pack')
  const names = await readdir(directory)
  return names.filter((name) => name.endsWith(ending)).map((name) => join(directory, name))
}

async function rewrite(path: string, change: (bytes: Buffer) => Buffer): Promise<void> {
  await chmod(path, 0o644)
  await writeFile(path, change(await readFile(path)))
}

describe('every object is what git says it is', () => {
  test('in deep chains, with bases named by offset or by id', async () => {
    await using made = await packed(120)
    expect(await expectSameAsGit(made)).toBe(840)
    const [path = ''] = await packFiles(made, '.pack')
    expect(await made.git('verify-pack', '--verbose', path)).toMatch(/chain length = [5-9][0-9]:/)
    await made.git('-c', 'repack.useDeltaBaseOffset=false', 'repack', '-adfq', '--depth=100')
    await expectSameAsGit(made)
  })

  test('with both versions of an index, and with long offsets', async () => {
    await using made = await packed(30)
    for (const version of ['1', '2', '2,0x100']) {
      for (const [pack = ''] of [await packFiles(made, '.pack')]) {
        await rm(pack.replace(/pack$/, 'idx'), { force: true })
        await made.git('index-pack', `--index-version=${version}`, pack)
      }
      expect(await expectSameAsGit(made)).toBe(210)
    }
  })

  test('loose, in several packs, and with an annotated tag', async () => {
    await using made = await packed(10)
    await importHistory(made.gitDir, chain(12))
    await made.git('reset', '--quiet', '--hard')
    await made.commit({
      'workflows/c/empty.hbs': '',
      'workflows/c/big.bin': Buffer.alloc(3_000_000, 'x'),
    })
    await made.git('tag', '--annotate', '--message', 'About it', 'v1')
    await expectSameAsGit(made)
    expect(sizeOfStore(join(made.gitDir, 'objects'))).toEqual({ packs: 2, loose: 7 })
  })

  test('in random histories, packed in random ways', async () => {
    const text = fc.array(fc.constantFrom('one\n', 'two\n', 'three, a longer line\n', '\u00e4\n'), {
      maxLength: 300,
    })
    const files = fc.dictionary(
      fc.constantFrom('a', 'b/c', 'd'),
      text.map((lines) => lines.join('')),
      { minKeys: 1 },
    )
    const packing = fc.constantFrom(
      ['repack', '-adfq', '--depth=250'],
      ['repack', '-adfq', '--depth=1'],
      ['repack', '-q'],
      ['unpack'],
      ['gc', '--quiet'],
    )
    const histories = fc.array(
      fc.tuple(fc.array(files, { minLength: 1, maxLength: 12 }), packing),
      {
        minLength: 1,
        maxLength: 3,
      },
    )
    await fc.assert(
      fc.asyncProperty(histories, async (parts) => {
        await using made = await testRepository()
        for (const [commits, [command = '', ...options]] of parts) {
          await importHistory(
            made.gitDir,
            commits.map((one) => ({ files: one })),
          )
          if (command === 'unpack') await unpackAll(made)
          else await made.git(command, ...options)
        }
        expect(await expectSameAsGit(made)).toBeGreaterThan(0)
      }),
      { numRuns: 15 },
    )
  }, 60_000)
})

describe('content that is not what its id says is never taken', () => {
  test('whatever bytes of a pack, its index or a loose object are others', async () => {
    await using made = await packed(40)
    await importHistory(made.gitDir, chain(5))
    await unpackAll(made)
    await made.git('repack', '-q', '-d')
    await importHistory(made.gitDir, chain(3))
    const whole = await objectsByGit(made.gitDir)
    const paths = [...(await packFiles(made, '.pack')), ...(await packFiles(made, '.idx'))]
    const originals = new Map<string, Buffer>()
    for (const path of paths) {
      originals.set(path, await readFile(path))
      await chmod(path, 0o644)
    }
    const place = fc.record({ path: fc.constantFrom(...paths), at: fc.nat(), byte: fc.nat(255) })
    const cut = fc.record({ path: fc.constantFrom(...paths), length: fc.nat() })
    let refused = 0
    await fc.assert(
      fc.asyncProperty(fc.oneof(place, cut), async (damage) => {
        const original = originals.get(damage.path) ?? Buffer.alloc(0)
        await writeFile(damage.path, damaged(original, damage))
        const store = new ObjectStore(join(made.gitDir, 'objects'))
        for (const [id, { content }] of whole) {
          const found = store.read(id)
          const isRefused = found.kind !== 'found'
          expect(isRefused || found.object.content.equals(content)).toBe(true)
          if (isRefused) refused += 1
        }
        await writeFile(damage.path, original)
      }),
      { numRuns: 60 },
    )
    expect(refused).toBeGreaterThan(0)
  })

  test('not even another whole object', async () => {
    await using made = await packed(5)
    const objects = await objectsByGit(made.gitDir)
    const [index = ''] = await packFiles(made, '.idx')
    await rewrite(index, (bytes) => {
      // The offsets of all objects, each taken for that of the next.
      const from = 1032 + objects.size * 24
      const moved = Buffer.from(bytes)
      bytes.copy(moved, from, from + 4, from + objects.size * 4)
      bytes.copy(moved, from + (objects.size - 1) * 4, from, from + 4)
      return moved
    })
    const store = new ObjectStore(join(made.gitDir, 'objects'))
    const kinds = [...objects.keys()].map((id) => store.read(id).kind)
    expect(new Set(kinds)).toEqual(new Set(['odd']))
    await made.write({ one: 'the one', two: 'the other' })
    const one = await made.git('hash-object', '-w', 'one')
    const two = await made.git('hash-object', '-w', 'two')
    const path = (id: string) => join(made.gitDir, 'objects', id.slice(0, 2), id.slice(2))
    const other = await readFile(path(two))
    await rewrite(path(one), () => other)
    expect(store.read(two).kind).toBe('found')
    expect(store.read(one)).toMatchObject({ kind: 'odd' })
  })

  test('it is read where a loose object or another pack has it whole', async () => {
    await using made = await packed(20)
    const tip = await made.tip('main')
    const [path = ''] = await packFiles(made, '.pack')
    const whole = await readFile(path)
    await unpackAll(made)
    await expectSameAsGit(made)
    // The index of the broken pack still names every object.
    await writeFile(path, whole)
    await made.git('index-pack', path)
    await rewrite(path, (bytes) =>
      Buffer.concat([bytes.subarray(0, 12), Buffer.alloc(bytes.length - 12)]),
    )
    const repository = await openRepository(made.path)
    expect((await repository.commit(tip as Revision)).id).toBe(tip)
  })

  test('a repository whose only pack is cut short fails for now', async () => {
    await using made = await packed(20)
    const tip = await made.tip('main')
    const [path = ''] = await packFiles(made, '.pack')
    await rewrite(path, (bytes) => bytes.subarray(0, bytes.length - 100))
    const repository = await openRepository(made.path)
    await expect(repository.tree(tip as Revision)).rejects.toThrow(RetryableFailure)
  })
})

function damaged(
  bytes: Buffer,
  damage: { readonly at: number; readonly byte: number } | { readonly length: number },
): Buffer {
  if ('length' in damage) return bytes.subarray(0, damage.length % bytes.length)
  const copy = Buffer.from(bytes)
  copy[damage.at % copy.length] = damage.byte
  return copy
}

describe('repository', () => {
  test('reads an object that is kept as a difference to one outside of its pack', async () => {
    await using made = await testRepository()
    await made.write({ 'base.txt': 'hello world' })
    const base = await made.git('hash-object', '-w', 'base.txt')
    // Five bytes from the start of eleven, and one of its own.
    const delta = Buffer.from([11, 6, 0x90, 5, 1, 0x21])
    const id = blobId(Buffer.from('hello!'))
    const { pack, index } = thinPack(base, delta, id)
    const path = join(made.gitDir, 'objects/pack', `pack-${'1'.repeat(40)}`)
    await writeFile(`${path}.pack`, pack)
    await writeFile(`${path}.idx`, index)
    const tip = await made.commit({ 'workflows/a/x.hbs': 'hello!' })
    await rm(join(made.gitDir, 'objects', id.slice(0, 2), id.slice(2)), { force: true })
    const tree = await (await openRepository(made.path)).tree(tip as Revision)
    const contents = await tree.read([id])
    expect(Buffer.from(contents.get(id) ?? []).toString()).toBe('hello!')
  })

  test('reads on under repack, unpack and prune in the background', async () => {
    await using made = await packed(60)
    const objects = await objectsByGit(made.gitDir)
    const blobs = [...objects].filter(([, { type }]) => type === 'blob').map(([id]) => id)
    const tip = (await made.tip('main')) as Revision
    const repository = await openRepository(made.path)
    const progress = { isOver: false }
    const repacking = (async () => {
      for (let round = 0; round < 6; round += 1) {
        await made.git('repack', '-adfq', `--depth=${10 + round}`)
        await unpackAll(made)
        await made.git('repack', '-q')
        await made.git('prune-packed', '--quiet')
      }
      progress.isOver = true
    })()
    let reads = 0
    while (!progress.isOver) {
      const tree = await repository.tree(tip)
      const contents = await tree.read(blobs)
      for (const id of blobs) {
        expect(objects.get(id)?.content.equals(contents.get(id) ?? Buffer.alloc(0))).toBe(true)
      }
      reads += blobs.length
      await turn()
    }
    await repacking
    expect(reads).toBeGreaterThan(blobs.length)
  }, 60_000)

  test.runIf(existsSync('/proc/self/fd'))('holds no pack open between two reads', async () => {
    await using made = await packed(10)
    const repository = await openRepository(made.path)
    await repository.tree((await made.tip('main')) as Revision)
    await turn()
    await turn()
    const open = await Promise.all(
      (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')),
    )
    expect(open.filter((path) => path.startsWith(made.gitDir))).toEqual([])
    expect(repository.size()).toEqual({ packs: 1, loose: 0 })
  })
})

/** Makes every packed object a loose one, as a repository is that was never packed. */
async function unpackAll(made: TestRepository): Promise<void> {
  const away = await temporaryDirectory()
  await run('sh', ['-c', UNPACK], { cwd: made.gitDir, env: { ...process.env, AWAY: away } })
  await rm(away, { recursive: true })
}

const UNPACK = `
  cp objects/pack/*.pack "$AWAY" &&
  mkdir "$AWAY/empty" && git init --quiet --bare "$AWAY/empty" &&
  for pack in "$AWAY"/*.pack; do git -C "$AWAY/empty" unpack-objects -q < "$pack" || exit 1; done &&
  cp -Rn "$AWAY/empty/objects/." objects/ &&
  for pack in "$AWAY"/*.pack; do
    name=objects/pack/$(basename "$pack" .pack); rm -f "$name.idx" "$name.rev" "$name.pack"
  done`
