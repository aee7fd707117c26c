import { LineCounter, isAlias, isMap, isScalar, isSeq, parseDocument } from 'yaml'
import type { Alias, Document, Node, Pair, ParsedNode, YAMLError, YAMLMap } from 'yaml'
import { NESTING_MAX, convert, type NodeProblem } from './convert.ts'
import {
  errorAt,
  sortDiagnostics,
  type Diagnostic,
  type Position,
  type Problem,
} from './diagnostic.ts'
import { checkJson } from './json.ts'
import { alignScalar } from './scalar.ts'
import { decodeText } from './text.ts'

/** How large a YAML or JSON file may be. Checked before it is parsed. */
export const YAML_BYTES_MAX = 256 * 1024

/** Where something stands in a parsed file: keys and indexes from the top. */
export type Pointer = readonly (string | number)[]

/** A YAML or JSON file as plain data, and where each piece of it stands. */
export interface ParsedFile {
  readonly path: string
  readonly value: unknown
  /** Where the value at `pointer` starts; of a path that leads nowhere, the deepest part there is. */
  locate(pointer: Pointer): Position
  /** Where the key of the entry at `pointer` starts; its value where it is an item of a list. */
  locateKey(pointer: Pointer): Position
  /** Where line and column of the text at `pointer` stand in the file. */
  locateInside(pointer: Pointer, at: Position): Position
}

export type ParseResult =
  | { readonly kind: 'parsed'; readonly file: ParsedFile }
  | {
      readonly kind: 'invalid'
      readonly diagnostics: readonly Diagnostic[]
      /** There where the grammar is right: what can be checked beside the values that are not. */
      readonly file?: ParsedFile
    }

/**
 * Parses a file of at most 256 kB as YAML 1.2, or as JSON where its name ends in `.json`. A file
 * that breaks the grammar gives the first problem only, since the others mostly follow from it.
 */
export function parseYaml(path: string, bytes: Uint8Array): ParseResult {
  const decoded = decodeText(path, bytes, YAML_BYTES_MAX)
  if (decoded.kind === 'invalid') return invalid([decoded.diagnostic])
  const { text } = decoded
  const lines = new LineCounter()
  const end = text.trimEnd().length
  const at = (offset: number): Position => {
    const { line, col } = lines.linePos(Math.min(offset, end))
    return { line, column: col }
  }
  const document = parseDocument(text, { ...OPTIONS, lineCounter: lines })
  const broken = path.endsWith('.json') ? jsonProblem(text) : undefined
  const first = broken ?? grammarProblem(document, text)
  if (first !== undefined) return invalid([errorAt(path, at(first.offset), first)])
  if (document.contents === null) {
    const problem = { code: 'empty_file', message: 'the file says nothing' }
    return invalid([errorAt(path, { line: 1, column: 1 }, problem)])
  }
  const { value, problems, targets } = convert(document.contents)
  const file = parsedFile({ path, text, at, targets }, document.contents, value)
  if (problems.length === 0) return { kind: 'parsed', file }
  const found = problems.map((problem) => errorAt(path, at(problem.offset), problem))
  const diagnostics = sortDiagnostics(found)
  // Of a file without end there is nothing that could be checked further.
  if (problems.some(({ code }) => ENDLESS.has(code))) return invalid(diagnostics)
  return { ...invalid(diagnostics), file }
}

const OPTIONS = {
  version: '1.2',
  schema: 'core',
  merge: false,
  // The library compares each key with all others; the walk of `convert` does it with a set.
  uniqueKeys: false,
  prettyErrors: false,
  // With `silent` the library drops all documents but the first and does not say so.
  logLevel: 'error',
  stringKeys: true,
  strict: true,
  resolveKnownTags: false,
} as const

const ENDLESS = new Set(['nesting_limit', 'too_many_values', 'alias_loop'])

function invalid(diagnostics: readonly Diagnostic[]) {
  return { kind: 'invalid', diagnostics } as const
}

function grammarProblem(document: Document.Parsed, text: string): NodeProblem | undefined {
  const found = [...document.errors, ...document.warnings].toSorted((a, b) => a.pos[0] - b.pos[0])
  const first = found[0]
  if (first === undefined) return undefined
  // Where the library runs out of stack depends on its caller, and the place must not.
  const offset = first.code === 'RESOURCE_EXHAUSTION' ? deepBracket(text) : first.pos[0]
  return { ...explain(first), offset }
}

/** The offset of the first bracket that lies too deep in others; 0 where there is none. */
function deepBracket(text: string): number {
  let depth = 0
  for (let offset = 0; offset < text.length; offset++) {
    const character = text.charAt(offset)
    if (character === '[' || character === '{') depth += 1
    if (character === ']' || character === '}') depth -= 1
    if (depth > NESTING_MAX) return offset
  }
  return 0
}

function explain({ code, message }: YAMLError): Problem {
  const known = GRAMMAR[code]
  if (known !== undefined) return known
  const bracket = /end with an? (.)$/.exec(message)?.[1]
  if (bracket !== undefined) {
    const text = `a "${bracket}" is missing, or a line before it is not indented enough`
    return { code: 'invalid_yaml', message: text }
  }
  if (/^Missing closing .quote/.test(message)) {
    return { code: 'invalid_yaml', message: 'a quoted text does not end' }
  }
  const plain = `${message.charAt(0).toLowerCase()}${message.slice(1)}`
  return { code: 'invalid_yaml', message: plain }
}

const BROKEN_MAP: Problem = {
  code: 'invalid_yaml',
  message: 'a map cannot start in the middle of this value',
  hint: 'Check the indentation, or quote a value that holds ": ".',
}

const GRAMMAR: Readonly<Partial<Record<YAMLError['code'], Problem>>> = {
  TAB_AS_INDENT: {
    code: 'tab_indentation',
    message: 'a tab stands where YAML wants spaces',
    hint: 'Indent with spaces.',
  },
  MULTIPLE_DOCS: {
    code: 'several_documents',
    message: 'the file holds more than one document',
    hint: 'Remove the second "---" and what follows, or make it a file of its own.',
  },
  TAG_RESOLVE_FAILED: {
    code: 'unknown_tag',
    message: 'tags are not supported here',
    hint: 'Quote a value that starts with "!".',
  },
  BAD_DIRECTIVE: { code: 'invalid_yaml', message: 'directives are not supported' },
  RESOURCE_EXHAUSTION: {
    code: 'nesting_limit',
    message: 'lists and maps lie too deep in each other',
  },
  NON_STRING_KEY: { code: 'invalid_key', message: 'a key must be a plain text' },
  BLOCK_AS_IMPLICIT_KEY: BROKEN_MAP,
  MULTILINE_IMPLICIT_KEY: {
    code: 'invalid_yaml',
    message: 'this line is neither "key: value" nor a part of the value above',
    hint: 'Check the indentation, and the ":" behind the key.',
  },
  UNEXPECTED_TOKEN: {
    code: 'invalid_yaml',
    message: 'this cannot follow what stands before it',
    hint: 'Check the indentation; a list item starts with "- ".',
  },
}

function jsonProblem(text: string): NodeProblem | undefined {
  const found = checkJson(text)
  return found && { code: 'invalid_json', ...found }
}

interface Source {
  readonly path: string
  readonly text: string
  readonly targets: ReadonlyMap<Alias, Node>
  at(offset: number): Position
}

function parsedFile(source: Source, root: ParsedNode, value: unknown): ParsedFile {
  const start = (node: Node | null): Position => source.at(node?.range?.[0] ?? 0)
  return {
    path: source.path,
    value,
    locate(pointer) {
      return start(find(source, root, pointer).node)
    },
    locateKey(pointer) {
      const { node, key } = find(source, root, pointer)
      return start(key ?? node)
    },
    locateInside(pointer, at) {
      const { node, isWhole } = find(source, root, pointer)
      if (!isWhole || !isScalar(node) || typeof node.value !== 'string') return start(node)
      const offset = alignScalar(source.text, node, at)
      return offset === undefined ? start(node) : source.at(offset)
    },
  }
}

interface Found {
  readonly node: Node | null
  /** The key whose value the node is; null for the items of lists and the top. */
  readonly key: Node | null
  /** Whether the whole pointer was followed. */
  readonly isWhole: boolean
}

function find(source: Source, root: Node, pointer: Pointer): Found {
  let found: Found = { node: root, key: null, isWhole: true }
  for (const segment of pointer) {
    const next = step(resolve(source, found.node), segment)
    if (next === undefined) return { ...found, isWhole: false }
    found = next
  }
  return { ...found, node: resolve(source, found.node) }
}

function step(node: Node | null, segment: string | number): Found | undefined {
  if (isMap(node)) {
    const pair = entryOf(node, String(segment))
    // A key without a value has no node of its own: the key stands for it.
    return pair && { node: pair.value ?? pair.key, key: pair.key, isWhole: true }
  }
  if (!isSeq(node)) return undefined
  const item = node.items[Number(segment)]
  return item === undefined ? undefined : { node: item as Node, key: null, isWhole: true }
}

function resolve(source: Source, node: Node | null): Node | null {
  return isAlias(node) ? (source.targets.get(node) ?? node) : node
}

function entryOf(map: YAMLMap, key: string): Pair<Node, Node | null> | undefined {
  const items = map.items as Pair<Node, Node | null>[]
  return items.find((pair) => isScalar(pair.key) && String(pair.key.value) === key)
}
