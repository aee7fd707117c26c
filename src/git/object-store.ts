import { closeSync, openSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { constants, inflateSync } from 'node:zlib'
import { messageOf } from '../errors.ts'
import { BoundedCache } from './bounded.ts'
import { ignoreMissing } from './location.ts'
import { objectId } from './objects.ts'
import type { ObjectType, StoredObject } from './objects.ts'
import { inflate, OBJECT_BYTES_MAX, openPack, readPacked } from './pack.ts'
import type { Bases, OpenPack } from './pack.ts'
import { readPackIndex } from './pack-index.ts'
import type { PackIndex } from './pack-index.ts'

/** What was found under an id. `odd`: something is there that could not be read, or is not what the id says. */
export type Found =
  | { readonly kind: 'found'; readonly object: StoredObject }
  | { readonly kind: 'missing' }
  | { readonly kind: 'odd'; readonly reason: string }

/** How a repository keeps its objects: many packs, or many loose objects, make each read slower. */
export interface StoreSize {
  readonly packs: number
  readonly loose: number
}

/** What deltas are differences to is kept up to here, for all packs together. */
const BASES_BYTES_MAX = 24 * 1024 * 1024
const LOOSE_HEADER = /^(blob|commit|tag|tree) ([0-9]{1,15})\0/
/** Deflated bytes in which its header surely lies. */
const LOOSE_HEADER_BYTES_MAX = 128
const FAN_OUT = /^[0-9a-f]{2}$/
const LOOSE_NAME = /^[0-9a-f]{38}$/

interface Pack {
  /** Without an ending. */
  readonly path: string
  readonly name: string
  /** Differs where another file took its index's place. */
  readonly identity: string
  readonly index: PackIndex
  readonly bases: Bases
}

/**
 * The objects of one repository, read from its packs and loose files. Nothing is taken whose bytes
 * do not have the id that was asked for. Reading is synchronous: from the page cache that takes
 * some ten microseconds, several times less than the way through the thread pool.
 */
export class ObjectStore {
  readonly #directory: string
  readonly #bases = new BoundedCache<string, StoredObject>(BASES_BYTES_MAX)
  /** The pack that answered last comes first. */
  #packs: Pack[] = []
  #unreadable: readonly string[] = []
  #isScanned = false
  #loaded = 0
  readonly #open = new Map<Pack, OpenPack>()
  #closing: NodeJS.Immediate | undefined

  /** `directory` is the `objects` directory of a repository. */
  constructor(directory: string) {
    this.#directory = directory
  }

  /** Reads one object. Throws where the directory of packs cannot be listed. */
  read(id: string): Found {
    if (!this.#isScanned) this.rescan()
    const reasons: string[] = []
    const key = Buffer.from(id, 'hex')
    for (const [place, pack] of this.#packs.entries()) {
      const found = checked(id, pack.name, () => this.#readFrom(pack, key))
      if (found.kind === 'found') {
        this.#packs.unshift(...(place === 0 ? [] : this.#packs.splice(place, 1)))
        return found
      }
      if (found.kind === 'odd') reasons.push(found.reason)
    }
    const path = join(id.slice(0, 2), id.slice(2))
    const loose = checked(id, path, () => readLoose(join(this.#directory, path)))
    if (loose.kind === 'found') return loose
    if (loose.kind === 'odd') reasons.push(loose.reason)
    reasons.push(...this.#unreadable)
    return reasons.length === 0 ? loose : { kind: 'odd', reason: reasons.join('; ') }
  }

  /** Lists the packs anew, and forgets what was made from their content. */
  rescan(): void {
    this.#close()
    this.#bases.clear()
    const known = new Map(this.#packs.map((pack) => [pack.path, pack]))
    const packs: Pack[] = []
    const unreadable: string[] = []
    const directory = join(this.#directory, 'pack')
    for (const name of listNames(directory)) {
      if (!name.endsWith('.idx')) continue
      const path = join(directory, name.slice(0, -'.idx'.length))
      try {
        const pack = this.#load(path, known.get(path))
        if (pack) packs.push(pack)
      } catch (error) {
        unreadable.push(`${name}: ${messageOf(error)}`)
      }
    }
    this.#packs = packs
    this.#unreadable = unreadable
    this.#isScanned = true
  }

  /** Undefined where the index is gone since it was listed. */
  #load(path: string, known: Pack | undefined): Pack | undefined {
    const found = statSync(`${path}.idx`, { bigint: true, throwIfNoEntry: false })
    if (!found) return undefined
    const identity = [found.dev, found.ino, found.size, found.mtimeNs].join(':')
    if (known?.identity === identity) return known
    this.#loaded += 1
    const prefix = `${this.#loaded}:`
    const bases: Bases = {
      get: (offset) => this.#bases.get(`${prefix}${offset}`),
      set: (offset, object) => this.#bases.set(`${prefix}${offset}`, object, object.content.length),
    }
    const name = `${basename(path)}.pack`
    return { path, name, identity, index: readPackIndex(`${path}.idx`), bases }
  }

  #readFrom(pack: Pack, key: Buffer): StoredObject | undefined {
    const offset = pack.index.offsetOf(key)
    if (offset === undefined) return undefined
    return readPacked(this.#opened(pack), offset, pack.bases)
  }

  /**
   * A pack stays open for the present turn of the event loop: many reads share it, and none is
   * held on to that a repack has removed.
   */
  #opened(pack: Pack): OpenPack {
    const open = this.#open.get(pack)
    if (open) return open
    const handle = openSync(`${pack.path}.pack`, 'r')
    this.#closing ??= setImmediate(() => this.#close())
    try {
      const opened = openPack(handle, pack.index)
      this.#open.set(pack, opened)
      return opened
    } catch (error) {
      closeSync(handle)
      throw error
    }
  }

  #close(): void {
    clearImmediate(this.#closing)
    this.#closing = undefined
    const handles = [...this.#open.values()]
    this.#open.clear()
    for (const { handle } of handles) closeSync(handle)
  }
}

/** Counts what is under an `objects` directory, without reading any of it. */
export function sizeOfStore(directory: string): StoreSize {
  const packs = listNames(join(directory, 'pack')).filter((name) => name.endsWith('.pack')).length
  const loose = listNames(directory)
    .filter((name) => FAN_OUT.test(name))
    .map((name) => listNames(join(directory, name)).filter((one) => LOOSE_NAME.test(one)).length)
  return { packs, loose: loose.reduce((sum, count) => sum + count, 0) }
}

/** With more packs each read looks through so many that it shows. */
const PACKS_MAX = 200

/** What to do about the repository at `place` that is kept in too many packs; null where it is not. */
export function adviseOnPacks(place: string, { packs }: StoreSize): string | null {
  if (packs <= PACKS_MAX) return null
  return `the repository ${place} has ${packs} packs, which makes each read slower: run \`git gc\` in it`
}

/** Takes what was read only where its bytes have this id. */
function checked(id: string, place: string, read: () => StoredObject | undefined): Found {
  try {
    const object = read()
    if (object === undefined) return { kind: 'missing' }
    if (objectId(object.type, object.content) === id) return { kind: 'found', object }
    return { kind: 'odd', reason: `${place}: what is stored as ${id} is something else` }
  } catch (error) {
    return { kind: 'odd', reason: `${place}: ${messageOf(error)}` }
  }
}

function readLoose(path: string): StoredObject | undefined {
  const found = statSync(path, { throwIfNoEntry: false })
  if (!found) return undefined
  if (found.size > OBJECT_BYTES_MAX) {
    throw new Error(`an object has ${found.size} bytes: more than ${OBJECT_BYTES_MAX}`)
  }
  const bytes = readFileSync(path)
  const { type, size, end } = readLooseHeader(bytes)
  if (size > OBJECT_BYTES_MAX) {
    throw new Error(`an object has ${size} bytes: more than ${OBJECT_BYTES_MAX}`)
  }
  return { type, content: inflate(bytes, end + size).subarray(end) }
}

function readLooseHeader(bytes: Buffer): {
  readonly type: ObjectType
  readonly size: number
  readonly end: number
} {
  const start = bytes.subarray(0, LOOSE_HEADER_BYTES_MAX)
  const head = inflateSync(start, { finishFlush: constants.Z_SYNC_FLUSH })
  const [whole = '', type, size] = LOOSE_HEADER.exec(head.toString('latin1')) ?? []
  if (type === undefined) throw new Error('a loose object does not say what it is')
  return { type: type as ObjectType, size: Number(size), end: whole.length }
}

function listNames(directory: string): readonly string[] {
  try {
    return readdirSync(directory)
  } catch (error) {
    return ignoreMissing(error as NodeJS.ErrnoException) ?? []
  }
}
