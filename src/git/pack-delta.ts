const COPY = 0x80
/** A copy that names no size is of this many bytes. */
const COPY_BYTES_DEFAULT = 0x10000

/**
 * Makes an object from the one that it is kept as a difference to. Throws where the difference is
 * to something else, is cut short, or makes more than `bytesMax`.
 */
export function applyDelta(base: Buffer, delta: Buffer, bytesMax: number): Buffer {
  const reader = { delta, at: 0 }
  if (readSize(reader) !== base.length) throw new Error('a delta is of another base')
  const size = readSize(reader)
  if (size > bytesMax) throw new Error(`an object has ${size} bytes: more than ${bytesMax}`)
  const made = Buffer.allocUnsafeSlow(size)
  let end = 0
  while (reader.at < delta.length) {
    const code = readByte(reader)
    if (code === 0) throw new Error('a delta has an unknown instruction')
    const [source, from, count] =
      code & COPY ? [base, ...readCopy(reader, code)] : ([delta, reader.at, code] as const)
    if (from + count > source.length || end + count > size) throw cutShort()
    source.copy(made, end, from, from + count)
    if (source === delta) reader.at += count
    end += count
  }
  if (end !== size) throw cutShort()
  return made
}

interface DeltaReader {
  readonly delta: Buffer
  at: number
}

/** The offset and the number of bytes of a copy; the bits of its code say which bytes of them follow. */
function readCopy(reader: DeltaReader, code: number): [number, number] {
  let from = 0
  let count = 0
  for (let bit = 0; bit < 4; bit += 1) {
    if (code & (1 << bit)) from += readByte(reader) * 2 ** (8 * bit)
  }
  for (let bit = 0; bit < 3; bit += 1) {
    if (code & (0x10 << bit)) count |= readByte(reader) << (8 * bit)
  }
  return [from, count === 0 ? COPY_BYTES_DEFAULT : count]
}

function readSize(reader: DeltaReader): number {
  let size = 0
  for (let factor = 1; ; factor *= 0x80) {
    const byte = readByte(reader)
    size += (byte & 0x7f) * factor
    if (byte < 0x80) return size
    if (factor > 2 ** 42) throw cutShort()
  }
}

function readByte(reader: DeltaReader): number {
  const byte = reader.delta[reader.at]
  if (byte === undefined) throw cutShort()
  reader.at += 1
  return byte
}

function cutShort(): Error {
  return new Error('a delta is cut short')
}
