import type { Scalar } from 'yaml'
import type { Position } from './diagnostic.ts'

/**
 * The offset in `source` of what stands at line and column `at` of the text of `node`. The text and
 * its source differ in indentation, folding and escapes, so both are walked side by side; undefined
 * where that loses the way.
 */
export function alignScalar(source: string, node: Scalar, at: Position): number | undefined {
  const value = String(node.value)
  const wanted = offsetIn(value, at)
  let from = node.range?.[0] ?? 0
  const isBlock = node.type === 'BLOCK_LITERAL' || node.type === 'BLOCK_FOLDED'
  if (isBlock) from = source.indexOf('\n', from) + 1
  if (node.type === 'QUOTE_DOUBLE' || node.type === 'QUOTE_SINGLE') from += 1
  for (let index = 0; index < value.length; index++) {
    const character = value.charAt(index)
    const place = placeOf(source, from, character, node.type)
    if (place === undefined) return undefined
    if (index === wanted) return place.start
    from = place.end
  }
  return from
}

interface Place {
  readonly start: number
  readonly end: number
}

/** Where the next character of the text stands, from `from` on. */
function placeOf(
  source: string,
  from: number,
  character: string,
  type: Scalar['type'],
): Place | undefined {
  if (type === 'QUOTE_DOUBLE' && source.charAt(from) === '\\') return escapeAt(source, from)
  if (isSpace(character))
    return { start: from, end: isSpace(source.charAt(from)) ? from + 1 : from }
  let start = from
  while (isSpace(source.charAt(start)) && source.charAt(start) !== character) start += 1
  if (type === 'QUOTE_DOUBLE' && source.charAt(start) === '\\') return escapeAt(source, start)
  if (source.charAt(start) !== character) return undefined
  const isDoubled = type === 'QUOTE_SINGLE' && character === "'"
  return { start, end: start + (isDoubled ? 2 : 1) }
}

function escapeAt(source: string, start: number): Place | undefined {
  const lengths: Readonly<Record<string, number>> = { x: 4, u: 6, U: 10 }
  const letter = source.charAt(start + 1)
  // A backslash at the end of a line joins it to the next one and stands for nothing.
  if (letter === '\n' || letter === '\r') return undefined
  return { start, end: start + (lengths[letter] ?? 2) }
}

function isSpace(character: string): boolean {
  return character === ' ' || character === '\n' || character === '\r' || character === '\t'
}

function offsetIn(text: string, { line, column }: Position): number {
  let start = 0
  for (let current = 1; current < line; current++) {
    const end = text.indexOf('\n', start)
    if (end === -1) break
    start = end + 1
  }
  return Math.min(start + column - 1, text.length)
}
