import { fstatSync, readSync } from 'node:fs'
import { inflateSync } from 'node:zlib'
import type { StoredObject, ObjectType } from './objects.ts'
import { applyDelta } from './pack-delta.ts'
import { ID_BYTES } from './pack-index.ts'
import type { PackIndex } from './pack-index.ts'

/** More is not kept in memory for one object; what a workflow may hold is far below. */
export const OBJECT_BYTES_MAX = 128 * 1024 * 1024
/** Git itself makes no longer chains; a longer one leads in a circle. */
const CHAIN_MAX = 4096
const SCRATCH_BYTES = 64 * 1024
/** Inflating in one go needs a buffer of the right size, and a little one for nothing at all. */
const INFLATE_BYTES_MIN = 64

const TYPES: Readonly<Record<number, ObjectType>> = { 1: 'commit', 2: 'tree', 3: 'blob', 4: 'tag' }
const OFFSET_DELTA = 6
const ID_DELTA = 7

/** A pack that is open for reading. */
export interface OpenPack {
  readonly handle: number
  readonly bytes: number
  readonly index: PackIndex
}

/** What was made from this pack already, by offset; chains share their beginnings. */
export interface Bases {
  get(offset: number): StoredObject | undefined
  set(offset: number, object: StoredObject): void
}

/** Throws unless the file is the whole pack that its index is of. */
export function openPack(handle: number, index: PackIndex): OpenPack {
  const { size } = fstatSync(handle)
  const trailer = Buffer.alloc(ID_BYTES)
  const read = size < ID_BYTES ? 0 : readSync(handle, trailer, 0, ID_BYTES, size - ID_BYTES)
  if (read < ID_BYTES || !trailer.equals(index.packChecksum)) {
    throw new Error('a pack is not the one that its index is of, or is cut short')
  }
  return { handle, bytes: size, index }
}

/**
 * Reads the object that begins at `offset`, whose content is not checked here against any id.
 * Throws where the bytes are no object, or a difference to one that is not in the pack.
 */
export function readPacked(pack: OpenPack, offset: number, bases: Bases): StoredObject {
  const deltas: { readonly offset: number; readonly delta: Buffer }[] = []
  let at = offset
  let object = bases.get(at)
  while (object === undefined) {
    const record = readRecord(pack, at)
    if (record.kind === 'object') {
      object = { type: record.type, content: record.content }
      bases.set(at, object)
    } else {
      deltas.push({ offset: at, delta: record.content })
      if (deltas.length > CHAIN_MAX) throw new Error('the deltas of a pack lead in a circle')
      at = record.base
      object = bases.get(at)
    }
  }
  const { type } = object
  let { content } = object
  for (const delta of deltas.toReversed()) {
    content = applyDelta(content, delta.delta, OBJECT_BYTES_MAX)
    bases.set(delta.offset, { type, content })
  }
  return { type, content }
}

type PackRecord =
  | { readonly kind: 'object'; readonly type: ObjectType; readonly content: Buffer }
  | { readonly kind: 'delta'; readonly base: number; readonly content: Buffer }

function readRecord(pack: OpenPack, offset: number): PackRecord {
  const bytes = readBytes(pack, offset)
  const { code, size, end } = readHeader(bytes)
  const type = TYPES[code]
  if (type) return { kind: 'object', type, content: inflate(bytes.subarray(end), size) }
  if (code === OFFSET_DELTA) {
    const { distance, end: dataAt } = readDistance(bytes, end)
    return {
      kind: 'delta',
      base: offset - distance,
      content: inflate(bytes.subarray(dataAt), size),
    }
  }
  if (code !== ID_DELTA) throw new Error(`a pack holds an object of the unknown type ${code}`)
  const base = pack.index.offsetOf(bytes.subarray(end, end + ID_BYTES))
  if (base === undefined) throw new Error('a pack holds a difference to an object outside of it')
  return { kind: 'delta', base, content: inflate(bytes.subarray(end + ID_BYTES), size) }
}

/** What one thread reads at a time is read into here, and used up before the next read. */
const scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES)

function readBytes({ handle, bytes, index }: OpenPack, offset: number): Buffer {
  const end = index.endOf(offset, bytes)
  if (end === undefined || end <= offset || end > bytes - ID_BYTES) {
    throw new Error(`no object of a pack begins at ${offset}`)
  }
  const length = end - offset
  if (length > OBJECT_BYTES_MAX) {
    throw new Error(`an object has ${length} bytes: more than ${OBJECT_BYTES_MAX}`)
  }
  const target = length <= SCRATCH_BYTES ? scratch : Buffer.allocUnsafeSlow(length)
  if (readSync(handle, target, 0, length, offset) < length) throw new Error('a pack is cut short')
  return target.subarray(0, length)
}

function readHeader(bytes: Buffer): {
  readonly code: number
  readonly size: number
  readonly end: number
} {
  const first = bytes[0] ?? 0
  let size = first & 0x0f
  let end = 1
  for (let byte = first, factor = 0x10; byte >= 0x80; factor *= 0x80, end += 1) {
    byte = bytes[end] ?? 0
    size += (byte & 0x7f) * factor
  }
  if (size > OBJECT_BYTES_MAX) {
    throw new Error(`an object has ${size} bytes: more than ${OBJECT_BYTES_MAX}`)
  }
  return { code: (first >> 4) & 0x07, size, end }
}

/** How far before a delta its base begins: seven bits a byte, each further one counting from the next power. */
function readDistance(
  bytes: Buffer,
  start: number,
): { readonly distance: number; readonly end: number } {
  let end = start
  let byte = bytes[end] ?? 0
  let distance = byte & 0x7f
  while (byte >= 0x80) {
    end += 1
    byte = bytes[end] ?? 0
    distance = (distance + 1) * 0x80 + (byte & 0x7f)
  }
  if (distance === 0) throw new Error('a delta of a pack is of itself')
  return { distance, end: end + 1 }
}

/** Inflates what must come out as `size` bytes. What follows in `bytes` is left alone. */
export function inflate(bytes: Buffer, size: number): Buffer {
  const room = Math.max(size, INFLATE_BYTES_MIN)
  const content = inflateSync(bytes, { chunkSize: room, maxOutputLength: room })
  if (content.length !== size) {
    throw new Error(`an object has ${content.length} bytes and should have ${size}`)
  }
  // A small buffer is a part of a larger one, all of which stays as long as the part is kept.
  if (content.buffer.byteLength <= 2 * size) return content
  const own = Buffer.allocUnsafeSlow(size)
  content.copy(own)
  return own
}
