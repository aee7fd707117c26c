import { readFileSync } from 'node:fs'

/** The table of contents of one pack: where in it each object begins and ends. */
export interface PackIndex {
  /** How many objects the pack holds. */
  readonly count: number
  /** What the last bytes of the pack must be; another pack under this name is not the one that was indexed. */
  readonly packChecksum: Buffer
  /** The offset of an object, by the twenty bytes of its id. */
  offsetOf(id: Buffer): number | undefined
  /** Where the object at this offset ends, in a pack of this many bytes; undefined where none begins. */
  endOf(offset: number, packBytes: number): number | undefined
}

export const ID_BYTES = 20
/** At the end of an index: the checksum of the pack, and its own. */
const TRAILER_BYTES = 2 * ID_BYTES
const FAN_OUT_BYTES = 256 * 4
const MAGIC = 0xff744f63
const HEADER_BYTES = 8
/** Marks an offset that stands in the table of eight-byte offsets instead. */
const IS_LONG = 0x80000000

/** Where the parts of an index are; the two versions keep the same in another order. */
interface Layout {
  readonly count: number
  readonly fanOutAt: number
  readonly idsAt: number
  readonly idStride: number
  readonly offsetsAt: number
  readonly offsetStride: number
  readonly longOffsetsAt: number
}

/** Reads the index file of a pack, version 1 or 2. Throws where it is not whole. */
export function readPackIndex(path: string): PackIndex {
  return parsePackIndex(readFileSync(path))
}

/** Reads the bytes of an index; they are kept, and searched as they are. Throws where they are not whole. */
export function parsePackIndex(bytes: Buffer): PackIndex {
  const layout = layoutOf(bytes)
  const { count } = layout
  let starts: Float64Array | undefined
  return {
    count,
    packChecksum: bytes.subarray(bytes.length - TRAILER_BYTES, bytes.length - ID_BYTES),
    offsetOf(id) {
      const at = positionOf(bytes, layout, id)
      return at === undefined ? undefined : offsetAt(bytes, layout, at)
    },
    endOf(offset, packBytes) {
      starts ??= Float64Array.from({ length: count }, (_, at) =>
        offsetAt(bytes, layout, at),
      ).toSorted()
      const at = search(count, (index) => (starts?.[index] ?? 0) - offset)
      if (at === undefined) return undefined
      return starts[at + 1] ?? packBytes - ID_BYTES
    },
  }
}

function layoutOf(bytes: Buffer): Layout {
  const isSecond = bytes.length >= HEADER_BYTES && bytes.readUInt32BE(0) === MAGIC
  if (isSecond && bytes.readUInt32BE(4) !== 2) {
    throw new Error(`the index of a pack has the unknown version ${bytes.readUInt32BE(4)}`)
  }
  const fanOutAt = isSecond ? HEADER_BYTES : 0
  const tableAt = fanOutAt + FAN_OUT_BYTES
  if (bytes.length < tableAt + TRAILER_BYTES) throw cutShort()
  const count = bytes.readUInt32BE(tableAt - 4)
  // Each entry is an id, an offset and, in the second version, a checksum.
  if (bytes.length < tableAt + count * (isSecond ? 28 : 24) + TRAILER_BYTES) throw cutShort()
  for (let at = fanOutAt + 4; at < tableAt; at += 4) {
    if (bytes.readUInt32BE(at) < bytes.readUInt32BE(at - 4)) {
      throw new Error('the index of a pack is out of order')
    }
  }
  if (!isSecond) {
    const places = { idsAt: tableAt + 4, idStride: 24, offsetsAt: tableAt, offsetStride: 24 }
    return { count, fanOutAt, ...places, longOffsetsAt: bytes.length }
  }
  const offsetsAt = tableAt + count * 24
  const places = { idsAt: tableAt, idStride: ID_BYTES, offsetsAt, offsetStride: 4 }
  return { count, fanOutAt, ...places, longOffsetsAt: offsetsAt + count * 4 }
}

function cutShort(): Error {
  return new Error('the index of a pack is cut short')
}

function positionOf(bytes: Buffer, layout: Layout, id: Buffer): number | undefined {
  const { fanOutAt, idsAt, idStride } = layout
  const first = id[0] ?? 0
  const from = first === 0 ? 0 : bytes.readUInt32BE(fanOutAt + (first - 1) * 4)
  const to = bytes.readUInt32BE(fanOutAt + first * 4)
  const found = search(to - from, (index) => {
    const at = idsAt + (from + index) * idStride
    return bytes.compare(id, 0, ID_BYTES, at, at + ID_BYTES)
  })
  return found === undefined ? undefined : from + found
}

function offsetAt(
  bytes: Buffer,
  { offsetsAt, offsetStride, longOffsetsAt }: Layout,
  position: number,
): number {
  const short = bytes.readUInt32BE(offsetsAt + position * offsetStride)
  if (offsetStride !== 4 || short < IS_LONG) return short
  const at = longOffsetsAt + (short - IS_LONG) * 8
  if (at + 8 > bytes.length - TRAILER_BYTES) throw cutShort()
  return Number(bytes.readBigUInt64BE(at))
}

/** Where among `count` sorted places `compare` answers zero. */
function search(count: number, compare: (index: number) => number): number | undefined {
  for (let low = 0, high = count; low < high;) {
    const middle = (low + high) >>> 1
    const order = compare(middle)
    if (order === 0) return middle
    if (order < 0) low = middle + 1
    else high = middle
  }
  return undefined
}
