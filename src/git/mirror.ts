import { createHash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { RetryableFailure } from '../errors.ts'
import type { Revision } from '../ids.ts'
import { ignoreMissing } from './location.ts'
import { countOf, indexPack } from './index-pack.ts'
import { openRepository } from './repository.ts'
import type { Repository } from './repository.ts'

/** What is known to be whole: branches by name, and the one that HEAD stands for. */
export interface MirrorRecord {
  readonly branches: ReadonlyMap<string, Revision>
  readonly head: string | null
}

const CONFIG = '[core]\n\trepositoryformatversion = 0\n\tbare = true\n'
const INCOMING = 'incoming'
/** What a mirror lacks is had again by itself. */
const ADVICE = 'it is fetched anew at the next look'
/** What HEAD names while the remote names nothing. */
const NO_HEAD = 'refs/heads/main'

/**
 * A bare repository that follows a remote. Objects are there before any ref names them: a pack is
 * taken in when it is whole and indexed, by renaming, and its refs after that.
 */
export class Mirror {
  readonly path: string
  readonly repository: Repository
  #record: MirrorRecord

  private constructor(path: string, repository: Repository, record: MirrorRecord) {
    this.path = path
    this.repository = repository
    this.#record = record
  }

  /** Makes an empty one. */
  static async create(path: string): Promise<Mirror> {
    await rm(path, { recursive: true, force: true })
    await mkdir(join(path, 'objects', 'pack'), { recursive: true, mode: 0o700 })
    await mkdir(join(path, 'refs', 'heads'), { recursive: true })
    await mkdir(join(path, INCOMING))
    await writeWhole(join(path, 'config'), CONFIG)
    await writeWhole(join(path, 'HEAD'), `ref: ${NO_HEAD}\n`)
    return new Mirror(path, await openRepository(path, ADVICE), { branches: new Map(), head: null })
  }

  /** Opens what an earlier process left; undefined where that cannot be used. */
  static async reopen(path: string): Promise<Mirror | undefined> {
    try {
      await rm(join(path, INCOMING), { recursive: true, force: true })
      await mkdir(join(path, INCOMING))
      await removeHalves(join(path, 'objects', 'pack'))
      const repository = await openRepository(path, ADVICE)
      const record = await readRecord(path)
      for (const tip of record.branches.values()) await repository.tree(tip)
      return new Mirror(path, repository, record)
    } catch {
      // Damaged, or never finished; it can be had again.
      return undefined
    }
  }

  /** What was whole when it was last written down. */
  get record(): MirrorRecord {
    return this.#record
  }

  /** Writes down what is whole now, all of it at once. */
  async save(record: MirrorRecord): Promise<void> {
    const lines = [...record.branches].map(([branch, tip]) => `${tip} refs/heads/${branch}\n`)
    const sorted = lines.toSorted((one, other) => (one.slice(41) < other.slice(41) ? -1 : 1))
    const text = `# pack-refs with: peeled fully-peeled sorted \n${sorted.join('')}`
    if (record.head !== this.#record.head) {
      await writeWhole(join(this.path, 'HEAD'), `ref: ${record.head ?? NO_HEAD}\n`)
    }
    await writeWhole(join(this.path, 'packed-refs'), text)
    this.#record = record
  }

  /** Whether a commit and the trees that a look needs can be read. */
  async has(revision: Revision): Promise<boolean> {
    return this.repository.tree(revision).then(
      () => true,
      () => false,
    )
  }

  /**
   * Takes in a pack. Throws a `RetryableFailure` for one that is not whole; then nothing has changed.
   * Not to be called while another call is under way.
   */
  async take(bytes: AsyncIterable<Uint8Array>): Promise<void> {
    const packed = join(this.path, INCOMING, 'new.pack')
    const indexed = join(this.path, INCOMING, 'new.idx')
    await pipeline(bytes, createWriteStream(packed, { mode: 0o600, flush: true }))
    const pack = await readFile(packed)
    if (countOf(pack) === 0) {
      await rm(packed)
      return
    }
    await writeFlushed(indexed, await indexPack(pack))
    const name = createHash('sha1').update(pack).digest('hex')
    const target = join(this.path, 'objects', 'pack', `pack-${name}`)
    // Read by its index, a pack must be there first.
    await rename(packed, `${target}.pack`)
    await rename(indexed, `${target}.idx`)
  }

  /** How many packs there are; with each, reading is a little slower. */
  async countPacks(): Promise<number> {
    const names = await readdir(join(this.path, 'objects', 'pack'))
    return names.filter((name) => name.endsWith('.idx')).length
  }

  /** Up to `count` commits that are whole here, the tips first: what a remote need not send. */
  async whole(count: number): Promise<readonly Revision[]> {
    const found = new Set<Revision>(this.#record.branches.values())
    for (const id of found) {
      if (found.size >= count) break
      const commit = await this.repository.commit(id)
      for (const parent of commit.parents) found.add(parent)
    }
    return [...found].slice(0, count)
  }
}

async function readRecord(path: string): Promise<MirrorRecord> {
  const head = await readFile(join(path, 'HEAD'), 'utf8')
  const packed = (await readFile(join(path, 'packed-refs'), 'utf8').catch(ignoreMissing)) ?? ''
  const branches = new Map<string, Revision>()
  for (const [, id, branch] of packed.matchAll(/^([0-9a-f]{40}) refs\/heads\/(.+)$/gm)) {
    branches.set(branch ?? '', id as Revision)
  }
  return { branches, head: /^ref: (\S+)\n$/.exec(head)?.[1] ?? null }
}

/** A pack without its index or the other way round is what a process leaves that died between the two. */
async function removeHalves(directory: string): Promise<void> {
  const names = new Set(await readdir(directory))
  for (const name of names) {
    const other = name.replace(/\.(?:pack|idx)$/, (end) => (end === '.pack' ? '.idx' : '.pack'))
    if (!names.has(other)) await rm(join(directory, name), { force: true })
  }
}

/** Writes a file so that it is there whole or as it was. */
export async function writeWhole(path: string, text: string): Promise<void> {
  await writeFlushed(`${path}.new`, text)
  await rename(`${path}.new`, path)
}

async function writeFlushed(path: string, content: string | Buffer): Promise<void> {
  await using file = await open(path, 'w', 0o600)
  await file.writeFile(content)
  await file.sync()
}

/** Says that the remote left out what it was asked for. */
export function lacking(branch: string, revision: Revision): RetryableFailure {
  return new RetryableFailure(
    `the remote names the commit ${revision.slice(0, 12)} of ${branch} and did not send all of it: see \`git fsck\` there`,
  )
}
