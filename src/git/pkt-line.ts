import { RetryableFailure } from '../errors.ts'

/** One packet of the Git protocol: data, or one of the marks between data. */
export type Packet =
  | { readonly kind: 'data'; readonly bytes: Buffer }
  | { readonly kind: 'flush' }
  | { readonly kind: 'delimiter' }

const LENGTH_DIGITS = 4
export const FLUSH = '0000'
export const DELIMITER = '0001'

/** A packet with this text and a line break. */
export function packet(text: string): string {
  const length = Buffer.byteLength(text) + 1 + LENGTH_DIGITS
  return `${length.toString(16).padStart(LENGTH_DIGITS, '0')}${text}\n`
}

/**
 * Reads packets until the stream ends. Throws a `RetryableFailure` where that is in the middle of
 * one, or where the bytes are no packets at all.
 */
export async function* readPackets(stream: AsyncIterable<Uint8Array>): AsyncGenerator<Packet> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of stream) {
    rest = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk])
    let at = 0
    while (rest.length - at >= LENGTH_DIGITS) {
      const length = lengthAt(rest, at)
      if (length >= LENGTH_DIGITS && rest.length - at < length) break
      yield packetOf(rest, at, length)
      at += Math.max(length, LENGTH_DIGITS)
    }
    rest = rest.subarray(at)
  }
  if (rest.length > 0) throw new RetryableFailure('the answer of the remote was cut short')
}

function lengthAt(bytes: Buffer, at: number): number {
  const digits = bytes.toString('latin1', at, at + LENGTH_DIGITS)
  if (!/^[0-9a-f]{4}$/i.test(digits)) {
    throw new RetryableFailure('the remote does not speak the Git protocol')
  }
  return Number.parseInt(digits, 16)
}

function packetOf(bytes: Buffer, at: number, length: number): Packet {
  if (length >= LENGTH_DIGITS) {
    return { kind: 'data', bytes: bytes.subarray(at + LENGTH_DIGITS, at + length) }
  }
  return { kind: length === 1 ? 'delimiter' : 'flush' }
}

/** The text of a line, without its break. */
export function lineOf(bytes: Buffer): string {
  return bytes.toString('utf8').replace(/\n$/, '')
}
