import Handlebars from 'handlebars'
import { messageOf } from '../errors.ts'
import type { TemplateProblem } from './template-kinds.ts'

/** Bytes of one template. */
export const TEMPLATE_BYTES_MAX = 64 * 1024
/** Bytes of a template that is made from others: of a layout, a body, and the styles of each element. */
export const MADE_BYTES_MAX = 1024 * 1024
/** Blocks inside blocks, `else if` included, and calls inside calls. */
export const NESTING_MAX = 50

export type Parsed =
  | { readonly program: hbs.AST.Program; readonly problem?: undefined }
  | { readonly program?: undefined; readonly problem: TemplateProblem }

/** Parses a template after checking its size and nesting, which the parser itself cannot bear. */
export function parseTemplate(source: string, bytesMax = TEMPLATE_BYTES_MAX): Parsed {
  const problem = sizeProblem(source, bytesMax) ?? nestingProblem(source)
  if (problem) return { problem }
  try {
    return { program: Handlebars.parse(source) }
  } catch (error) {
    return { problem: syntaxProblem(source, error) }
  }
}

function sizeProblem(source: string, max: number): TemplateProblem | undefined {
  const bytes = Buffer.byteLength(source)
  if (bytes <= max) return undefined
  return {
    line: 1,
    column: 1,
    code: 'template_too_large',
    message: `the template has ${bytes} bytes, at most ${max} are allowed`,
  }
}

const QUOTED = /"(?:\\"|[^"])*"|'(?:\\'|[^'])*'|\[(?:\\\]|[^\]])*\]/g
const TAG_BODY = new RegExp(String.raw`(?:${QUOTED.source}|(?!\}\})[^"'[])*`, 'y')

/**
 * The tags of a template, comments among them, as the parser's own lexer cuts them. Ends at a
 * tag that is not closed, where the parser stops too.
 */
export function* tagsOf(
  source: string,
): Generator<{ readonly tag: string; readonly index: number }> {
  let index = source.indexOf('{{')
  while (index >= 0) {
    let end = index + 2
    const escaped = source[index - 1] === '\\' && source[index - 2] !== '\\'
    if (!escaped) {
      end = tagEnd(source, index)
      if (end < 0) return
      yield { tag: source.slice(index, end), index }
    }
    index = source.indexOf('{{', end)
  }
}

function tagEnd(source: string, index: number): number {
  const comment = /^\{\{~?!(?:--)?/.exec(source.slice(index, index + 6))?.[0]
  if (comment !== undefined) {
    const mark = comment.endsWith('--') ? /--~?\}\}/g : /\}\}/g
    mark.lastIndex = index + comment.replace('--', '').length
    return mark.exec(source) === null ? -1 : mark.lastIndex
  }
  TAG_BODY.lastIndex = index + 2
  TAG_BODY.exec(source)
  const end = TAG_BODY.lastIndex
  return source.startsWith('}}', end) ? end + 2 : -1
}

function nestingProblem(source: string): TemplateProblem | undefined {
  const blocks: number[] = []
  let depth = 0
  for (const { tag, index } of tagsOf(source)) {
    const head = /^\{\{~?\s*(#|\^|\/|else\b)/.exec(tag)?.[1]
    const alone = /^\{\{~?\s*(?:\^|else)\s*~?\}\}$/.test(tag)
    if (head === '/') depth -= blocks.pop() ?? 0
    else if (head === 'else' && !alone && blocks.length > 0) {
      depth += 1
      blocks[blocks.length - 1]! += 1
    } else if ((head === '#' || head === '^') && !alone) {
      depth += 1
      blocks.push(1)
    }
    if (depth + callDepth(tag) > NESTING_MAX) return tooDeep(source, index)
  }
  return undefined
}

function tooDeep(source: string, index: number): TemplateProblem {
  return {
    ...positionOf(source, index),
    code: 'template_too_deep',
    message: `blocks are nested more than ${NESTING_MAX} levels deep`,
    hint: 'move inner parts into partials',
  }
}

/** How many calls stand inside each other in one tag, at most. */
function callDepth(tag: string): number {
  if (!tag.includes('(')) return 0
  let depth = 0
  let deepest = 0
  for (const character of tag.replace(QUOTED, '')) {
    if (character === '(') deepest = Math.max(deepest, (depth += 1))
    else if (character === ')') depth -= 1
  }
  return deepest
}

/** Line and column of an offset, from 1. */
export function positionOf(source: string, offset: number): { line: number; column: number } {
  const before = source.slice(0, offset)
  const lines = before.split(/\r?\n/)
  return { line: lines.length, column: lines.at(-1)!.length + 1 }
}

function offsetOf(source: string, { line, column }: { line: number; column: number }): number {
  const before = source.split('\n', line - 1).join('\n').length
  return before + (line > 1 ? 1 : 0) + column - 1
}

interface Lexer {
  /** The token that was read last; lines from 1, columns from 0. */
  readonly yylloc?: {
    readonly first_line: number
    readonly first_column: number
    readonly last_line: number
    readonly last_column: number
  }
}

interface Parser {
  parse(source: string): unknown
  parseError(message: string, hash: unknown): never
  readonly lexer: Lexer
}

/**
 * A mismatched block or a bad path says where it is. A grammar error says it only with an arrow
 * under a shortened quote, so the parser runs again and the lexer is asked for its place.
 */
function syntaxProblem(source: string, error: unknown): TemplateProblem {
  const text = messageOf(error)
  const { lineNumber, column } = error as { lineNumber?: number; column?: number }
  const at =
    lineNumber !== undefined && column !== undefined
      ? { line: lineNumber, column: column + 1 }
      : (grammarPosition(source) ?? positionOf(source, source.length))
  return { ...at, code: 'invalid_template', ...readable(text, source, offsetOf(source, at)) }
}

function grammarPosition(source: string): { line: number; column: number } | undefined {
  const parser = Object.create((Handlebars as unknown as { Parser: Parser }).Parser) as Parser
  let found: { line: number; column: number } | undefined
  parser.parseError = (message) => {
    const place = parser.lexer.yylloc
    // What is no token at all comes behind the last one.
    if (place && message.startsWith('Lexical')) {
      found = { line: place.last_line, column: place.last_column + 1 }
    } else if (place) found = { line: place.first_line, column: place.first_column + 1 }
    throw new Error(message)
  }
  try {
    parser.parse(source)
  } catch {
    return found
  }
  return undefined
}

/** The names of the parser's tokens, as a reader of templates would say them. */
const TOKENS: Readonly<Record<string, string>> = {
  EOF: 'the end of the template',
  CLOSE: '"}}"',
  CLOSE_UNESCAPED: '"}}}"',
  CLOSE_RAW_BLOCK: '"}}}}"',
  CLOSE_SEXPR: '")"',
  CLOSE_BLOCK_PARAMS: '"|"',
  OPEN: '"{{"',
  OPEN_UNESCAPED: '"{{{"',
  OPEN_BLOCK: '"{{#"',
  OPEN_ENDBLOCK: '"{{/"',
  OPEN_INVERSE: '"{{^"',
  OPEN_INVERSE_CHAIN: '"{{else"',
  OPEN_PARTIAL: '"{{>"',
  OPEN_PARTIAL_BLOCK: '"{{#>"',
  OPEN_RAW_BLOCK: '"{{{{"',
  END_RAW_BLOCK: '"{{{{/"',
  OPEN_BLOCK_PARAMS: '"as |"',
  DATA: '"@"',
  COMMENT: 'a comment',
  BOOLEAN: '"true" or "false"',
  UNDEFINED: '"undefined"',
  NULL: '"null"',
  OPEN_SEXPR: '"("',
  INVERSE: '"{{else}}"',
  EQUALS: '"="',
  SEP: '"."',
  ID: 'a name',
  STRING: 'a string',
  NUMBER: 'a number',
  CONTENT: 'text',
  INVALID: 'a character that cannot stand here',
}

/** What an author most likely meant where the parser met such a token. */
const HINTS: Readonly<Record<string, string>> = {
  CLOSE_UNESCAPED: 'write a space between "}}" and a "}" of the text',
  NUMBER: 'write list.[0] for an item of a list',
  INVALID: 'names are letters, digits, "_" and "-"; others stand in [brackets]',
}

function readable(
  text: string,
  source: string,
  offset: number,
): { message: string; hint?: string } {
  if (text.startsWith('Lexical')) {
    return { message: 'a comment is not closed', hint: 'each "{{!--" needs its "--}}"' }
  }
  const got = /\nExpecting [\s\S]*, got '(\w+)'$/.exec(text)?.[1]
  if (got === undefined) {
    return { message: text.split(' - ')[0]!.replaceAll("doesn't match", 'does not match') }
  }
  if ((got === 'EOF' || got === 'INVALID') && !source.slice(offset).includes('}}')) {
    return got === 'EOF' && !/\{\{[^}]*$/.test(source)
      ? { message: 'a block is not closed', hint: 'each {{#block}} needs its {{/block}}' }
      : { message: '"{{" is not closed', hint: 'each "{{" needs its "}}"' }
  }
  const hint = HINTS[got]
  return { message: `unexpected ${TOKENS[got] ?? got}`, ...(hint !== undefined && { hint }) }
}
