import { createHash } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import { crc32, inflateSync } from 'node:zlib'
import { messageOf, RetryableFailure } from '../errors.ts'
import { objectId } from './objects.ts'
import type { ObjectType } from './objects.ts'
import { applyDelta } from './pack-delta.ts'
import { ID_BYTES } from './pack-index.ts'

/**
 * Makes the index of a pack as `git index-pack` does, byte for byte. The library's own leaves out
 * what it cannot read and says nothing, and holds the thread for seconds; this one refuses a pack
 * that is not whole, and lets others run in between.
 */

const HEADER_BYTES = 12
const OBJECTS_MAX = 20_000_000
/** A single file of a repository; one that is larger is no workflow. */
const OBJECT_BYTES_MAX = 256 * 1024 * 1024
/** Inflated objects that are kept because others may be made from them. */
const BASES_BYTES_MAX = 64 * 1024 * 1024
/** After how much work others have their turn: a few milliseconds. */
const TURN_BYTES = 512 * 1024
const TURN_OBJECT_BYTES = 1024

const TYPES: Readonly<Record<number, ObjectType>> = { 1: 'commit', 2: 'tree', 3: 'blob', 4: 'tag' }
const OFS_DELTA = 6
const REF_DELTA = 7

/** One entry as it stands in the pack. */
interface Entry {
  readonly offset: number
  readonly dataAt: number
  readonly size: number
  readonly crc: number
  readonly base:
    | { readonly kind: 'none'; readonly type: ObjectType }
    | { readonly kind: 'offset'; readonly offset: number }
    | { readonly kind: 'id'; readonly id: string }
}

interface Content {
  readonly type: ObjectType
  readonly bytes: Buffer
}

/**
 * Answers the index (version 2) of a whole pack. Throws a `RetryableFailure` for one that is cut, damaged,
 * or made from objects that it does not hold.
 */
export async function indexPack(pack: Buffer): Promise<Buffer> {
  const end = pack.length - ID_BYTES
  const checksum = createHash('sha1')
    .update(pack.subarray(0, Math.max(end, 0)))
    .digest()
  if (end < HEADER_BYTES || !checksum.equals(pack.subarray(end))) throw damaged('it is cut short')
  const count = countOf(pack)
  const objects = new PackObjects(pack, end)
  const work = new Turns()
  const ids = new Map<number, string>()
  let open: Entry[] = []
  let at = HEADER_BYTES
  for (let number = 0; number < count; number += 1) {
    const entry = objects.parse(at)
    at = entry.end
    await identify(entry.entry, entry.inflated)
  }
  if (at !== end) throw damaged('it holds more than it says')
  // What is made from an object further on waits for it; each round finds some, or none ever will be.
  for (let left = open; left.length > 0; left = open) {
    open = []
    for (const entry of left) await identify(entry)
    if (open.length === left.length) throw damaged('an object is made from one that it lacks')
  }
  return writeIndex(
    [...ids].map(([offset, id]) => ({ id, offset, crc: objects.crcAt(offset) })),
    checksum,
  )

  async function identify(entry: Entry, inflated?: Buffer): Promise<void> {
    const content = objects.content(entry, inflated)
    if (content === undefined) {
      open.push(entry)
      return
    }
    const id = objectId(content.type, content.bytes)
    ids.set(entry.offset, id)
    objects.name(id, entry.offset)
    await work.done(content.bytes.length)
  }
}

/** Objects that the pack says it holds. Throws a `RetryableFailure` when it is no pack. */
export function countOf(pack: Buffer): number {
  const isPack = pack.length >= HEADER_BYTES && pack.toString('latin1', 0, 4) === 'PACK'
  if (!isPack || ![2, 3].includes(pack.readUInt32BE(4))) throw damaged('it is no pack')
  const count = pack.readUInt32BE(8)
  if (count > OBJECTS_MAX) throw damaged(`it holds more than ${OBJECTS_MAX} objects`)
  return count
}

/** Lets the event loop turn after some work. */
class Turns {
  #bytes = 0

  async done(bytes: number): Promise<void> {
    this.#bytes += bytes + TURN_OBJECT_BYTES
    if (this.#bytes < TURN_BYTES) return
    this.#bytes = 0
    await turn()
  }
}

class PackObjects {
  readonly #pack: Buffer
  readonly #end: number
  readonly #entries = new Map<number, Entry>()
  readonly #offsets = new Map<string, number>()
  /** Those used last are at the end. */
  readonly #bases = new Map<number, Content>()
  #basesBytes = 0

  constructor(pack: Buffer, end: number) {
    this.#pack = pack
    this.#end = end
  }

  name(id: string, offset: number): void {
    this.#offsets.set(id, offset)
  }

  crcAt(offset: number): number {
    return this.#entries.get(offset)?.crc ?? 0
  }

  /** Reads the entry at an offset, and where the next one begins. */
  parse(offset: number): {
    readonly entry: Entry
    readonly end: number
    readonly inflated: Buffer
  } {
    let at = offset
    let byte = this.#byte(at++)
    const type = (byte >> 4) & 7
    let size = byte & 15
    for (let factor = 16; byte & 0x80; factor *= 128) {
      byte = this.#byte(at++)
      size += (byte & 0x7f) * factor
    }
    if (size > OBJECT_BYTES_MAX) throw damaged(`an object has more than ${OBJECT_BYTES_MAX} bytes`)
    let base: Entry['base']
    if (type === OFS_DELTA) {
      const read = this.#distance(at)
      at = read.end
      base = { kind: 'offset', offset: offset - read.distance }
    } else if (type === REF_DELTA) {
      base = { kind: 'id', id: this.#pack.toString('hex', at, at + ID_BYTES) }
      at += ID_BYTES
    } else {
      const plain = TYPES[type]
      if (plain === undefined) throw damaged('an object has an unknown type')
      base = { kind: 'none', type: plain }
    }
    const { bytes, length } = this.#inflate(at, size)
    const end = at + length
    const crc = crc32(this.#pack.subarray(offset, end))
    const entry = { offset, dataAt: at, size, crc, base }
    this.#entries.set(offset, entry)
    if (base.kind === 'none') this.#keep(offset, { type: base.type, bytes })
    return { entry, end, inflated: bytes }
  }

  /** What an entry is once it is made from its base; undefined while that is not known. */
  content(entry: Entry, inflated?: Buffer): Content | undefined {
    const deltas: Entry[] = []
    let at: Entry = entry
    let content = this.#bases.get(at.offset)
    while (content === undefined && at.base.kind !== 'none') {
      deltas.push(at)
      const offset = at.base.kind === 'offset' ? at.base.offset : this.#offsets.get(at.base.id)
      const next = offset === undefined ? undefined : this.#entries.get(offset)
      if (next === undefined) {
        if (at.base.kind === 'offset') throw damaged('a delta names no object')
        return undefined
      }
      at = next
      content = this.#bases.get(at.offset)
    }
    content ??= this.#plain(at)
    for (const delta of deltas.toReversed()) {
      const isOwn = delta === entry && inflated !== undefined
      const bytes = isOwn ? inflated : this.#inflate(delta.dataAt, delta.size).bytes
      content = { type: content.type, bytes: undelta(content.bytes, bytes) }
      this.#keep(delta.offset, content)
    }
    return content
  }

  #plain({ base, dataAt, size }: Entry): Content {
    if (base.kind !== 'none') throw damaged('an object has no base')
    return { type: base.type, bytes: this.#inflate(dataAt, size).bytes }
  }

  #keep(offset: number, content: Content): void {
    this.#bases.set(offset, content)
    this.#basesBytes += content.bytes.length
    for (const [oldest, { bytes }] of this.#bases) {
      if (this.#basesBytes <= BASES_BYTES_MAX || oldest === offset) break
      this.#bases.delete(oldest)
      this.#basesBytes -= bytes.length
    }
  }

  #byte(at: number): number {
    const byte = at < this.#end ? this.#pack[at] : undefined
    if (byte === undefined) throw damaged('it is cut short')
    return byte
  }

  #distance(start: number): { readonly distance: number; readonly end: number } {
    let at = start
    let byte = this.#byte(at++)
    let distance = byte & 0x7f
    while (byte & 0x80) {
      byte = this.#byte(at++)
      distance = (distance + 1) * 128 + (byte & 0x7f)
    }
    return { distance, end: at }
  }

  /** The inflated bytes, and how many of the pack they were made from. */
  #inflate(at: number, size: number): { readonly bytes: Buffer; readonly length: number } {
    try {
      const { buffer, engine } = inflateSync(this.#pack.subarray(at, this.#end), {
        info: true,
        // One more than expected, so that what is longer is noticed.
        maxOutputLength: size + 1,
        chunkSize: Math.max(size + 1, 64),
      }) as unknown as Inflated
      if (buffer.length !== size) throw damaged('an object has another size than it says')
      return { bytes: buffer, length: engine.bytesWritten }
    } catch (error) {
      if (error instanceof RetryableFailure) throw error
      throw damaged('an object cannot be inflated')
    }
  }
}

/** What `inflateSync` answers with `info`, which its types do not know. */
interface Inflated {
  readonly buffer: Buffer
  readonly engine: { readonly bytesWritten: number }
}

/** Makes an object from another one and the difference to it. */
function undelta(base: Buffer, delta: Buffer): Buffer {
  try {
    return applyDelta(base, delta, OBJECT_BYTES_MAX)
  } catch (error) {
    throw damaged(messageOf(error))
  }
}

function damaged(what: string): RetryableFailure {
  return new RetryableFailure(`the pack that the remote sent cannot be used: ${what}`)
}

interface Indexed {
  readonly id: string
  readonly offset: number
  readonly crc: number
}

function writeIndex(objects: readonly Indexed[], packChecksum: Buffer): Buffer {
  const sorted = objects.toSorted((one, other) => (one.id < other.id ? -1 : 1))
  const fanout = Buffer.alloc(256 * 4)
  const counts = new Uint32Array(256)
  for (const { id } of sorted) {
    const first = Number.parseInt(id.slice(0, 2), 16)
    counts[first] = (counts[first] ?? 0) + 1
  }
  let total = 0
  for (const [first, count] of counts.entries()) {
    total += count
    fanout.writeUInt32BE(total, first * 4)
  }
  const crcs = Buffer.alloc(sorted.length * 4)
  const offsets = Buffer.alloc(sorted.length * 4)
  for (const [index, { crc, offset }] of sorted.entries()) {
    crcs.writeUInt32BE(crc, index * 4)
    // A pack is shorter than 2 GiB, so that no offset needs more than 31 bits.
    offsets.writeUInt32BE(offset, index * 4)
  }
  const ids = Buffer.from(sorted.map(({ id }) => id).join(''), 'hex')
  const body = Buffer.concat([INDEX_HEADER, fanout, ids, crcs, offsets, packChecksum])
  return Buffer.concat([body, createHash('sha1').update(body).digest()])
}

const INDEX_HEADER = Buffer.from([0xff, 0x74, 0x4f, 0x63, 0, 0, 0, 2])
