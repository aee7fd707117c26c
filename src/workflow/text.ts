import { isUtf8 } from 'node:buffer'
import { errorAt, type Diagnostic, type Position } from './diagnostic.ts'

/** The text of a file, or the one reason why it has none. */
export type TextResult =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'invalid'; readonly diagnostic: Diagnostic }

/** What no text file here may hold: it is invisible, and Postgres cannot store the first of them. */
const REFUSED = /[^\P{Cc}\t\n\r\u0085]|[\ufeff\ufffe\uffff]|\r(?!\n)/u
const PLAIN_MARKS: Readonly<Record<string, string>> = {
  '\r': 'a carriage return without a line feed',
  '\ufeff': 'a byte order mark inside the text',
}

/** How each pointer begins that Git LFS commits in the place of a file. */
const LFS_POINTER = 'version https://git-lfs.github.com/spec/'

/**
 * Decodes a file of the repository: UTF-8 of at most `bytesMax` bytes, without control characters
 * other than tab and line ends. One byte order mark at the start is passed over.
 */
export function decodeText(path: string, bytes: Uint8Array, bytesMax: number): TextResult {
  if (bytes.length > bytesMax) {
    return invalid(path, { line: 1, column: 1 }, 'file_too_large', {
      message: `the file has ${bytes.length} bytes; at most ${bytesMax} are read`,
      hint: 'Split it, or move long texts into files of their own.',
    })
  }
  if (!isUtf8(bytes)) return invalidEncoding(path, bytes)
  const text = new TextDecoder().decode(bytes)
  if (text.startsWith(LFS_POINTER)) {
    return invalid(path, { line: 1, column: 1 }, 'lfs_pointer', {
      message: 'Git has only a pointer to the content of this file, which is in LFS',
      hint: 'Keep it in Git itself: `git lfs untrack` its pattern, then `git add --renormalize` the file.',
    })
  }
  const refused = REFUSED.exec(text)
  if (refused === null) return { kind: 'text', text }
  const mark = refused[0]
  const name = PLAIN_MARKS[mark] ?? `the control character ${codePoint(mark)}`
  return invalid(path, positionAt(text, refused.index), 'invalid_character', {
    message: `the file holds ${name}`,
    hint:
      mark === '\r'
        ? 'Save the file with line feeds (LF) or CRLF as line ends.'
        : 'Remove it; in a quoted YAML string it can be written as an escape.',
  })
}

/** Where the character at `offset` stands. Lines end with a line feed. */
export function positionAt(text: string, offset: number): Position {
  let line = 1
  let start = 0
  for (;;) {
    const end = text.indexOf('\n', start)
    if (end === -1 || end >= offset) break
    start = end + 1
    line += 1
  }
  return { line, column: offset - start + 1 }
}

function invalid(
  path: string,
  at: Position,
  code: string,
  { message, hint }: { readonly message: string; readonly hint: string },
): TextResult {
  return { kind: 'invalid', diagnostic: errorAt(path, at, { code, message, hint }) }
}

function invalidEncoding(path: string, bytes: Uint8Array): TextResult {
  const isUtf16 =
    (bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff)
  const at = isUtf16 ? { line: 1, column: 1 } : firstInvalid(bytes)
  return invalid(path, at, 'invalid_encoding', {
    message: isUtf16 ? 'the file is UTF-16, not UTF-8' : 'these bytes are not UTF-8',
    hint: 'Save the file as UTF-8.',
  })
}

/** Where a lenient decoder had to put U+FFFD for bytes that are something else. */
function firstInvalid(bytes: Uint8Array): Position {
  const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)
  let byte = 0
  let offset = 0
  for (const character of text) {
    const isReplaced = character === '\ufffd' && !(bytes[byte] === 0xef && bytes[byte + 1] === 0xbf)
    if (isReplaced) break
    byte += Buffer.byteLength(character)
    offset += character.length
  }
  return positionAt(text, offset)
}

function codePoint(character: string): string {
  return `U+${character.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}`
}
