import path from 'node:path'
import { at, importsOf, lineOf, nameOf, visit, type Problem, type Source } from './source.ts'

/** A room imports from rooms on lines above its own; rooms of one line do not import each other. */
const ORDER: readonly (readonly string[])[] = [
  ['base'],
  ['language'],
  ['channels', 'steps'],
  ['workflow'],
  ['git', 'db', 'forges'],
  ['recipients', 'messages'],
  ['reconcile', 'runs'],
  ['api', 'cli', 'dashboard'],
  ['app'],
  ['main'],
]

/** Imports against the order that are meant, with the reason. */
export const ACROSS: readonly {
  readonly from: string
  readonly to: string
  readonly why: string
}[] = [
  {
    from: 'channels',
    to: 'src/steps/step.ts',
    why: 'types only: what a step says a channel sends',
  },
]

/** Rooms whose entries are named in their `index.ts`, and the type that marks an entry. */
const REGISTRIES: Readonly<Record<string, string>> = {
  steps: 'StepType',
  channels: 'Provider',
  forges: 'ForgeKind',
  api: 'Route',
  cli: 'Command',
}

/** Rooms without I/O, in which there is no excuse for code without a test. */
const PURE = ['language', 'steps', 'workflow']

export function roomOf(file: string): string {
  const [, room = '', ...rest] = file.split('/')
  if (rest.length > 0) return room
  return room === 'app.ts' || room === 'main.ts' ? path.basename(room, '.ts') : 'base'
}

export function importDirection(source: Source): Problem[] {
  const room = roomOf(source.path)
  const rank = rankOf(room)
  if (rank < 0) return [`${source.path}: no such room: ${room}`]
  return importsOf(source).flatMap((one) => {
    if (!one.file?.startsWith('src/')) return []
    const target = roomOf(one.file)
    const isMeant = ACROSS.some(({ from, to }) => from === room && to === one.file && one.isType)
    if (target === room || rankOf(target) < rank || isMeant) return []
    return [at(source, one, `${room} must not import from ${target}`)]
  })
}

function rankOf(room: string): number {
  return ORDER.findIndex((line) => line.includes(room))
}

export const FUNCTION_LINES_MAX = 70
export const FILE_LINES_MAX = 400

/** Lines of code, as the linter counts them: neither blank ones nor comments. */
export function lengths(source: Source): Problem[] {
  const problems: Problem[] = []
  const lines = source.text.trimEnd().split('\n').length
  if (lines > FILE_LINES_MAX)
    problems.push(`${source.path}: ${lines} lines, at most ${FILE_LINES_MAX}`)
  const check = (node: { readonly start: number; readonly end: number }) => {
    const length = codeLines(source, node)
    if (length <= FUNCTION_LINES_MAX) return
    problems.push(at(source, node, `a function of ${length} lines, at most ${FUNCTION_LINES_MAX}`))
  }
  visit(source, {
    FunctionDeclaration: check,
    FunctionExpression: check,
    ArrowFunctionExpression: check,
  })
  return problems
}

function codeLines(source: Source, node: { readonly start: number; readonly end: number }): number {
  const inside = source.comments.filter(({ start, end }) => start >= node.start && end <= node.end)
  let text = source.text.slice(node.start, node.end)
  for (const { start, end } of inside.toReversed()) {
    const comment = text.slice(start - node.start, end - node.start)
    const blank = comment.replace(/[^\n]/g, '')
    text = text.slice(0, start - node.start) + blank + text.slice(end - node.start)
  }
  return text.split('\n').filter((line) => line.trim() !== '').length
}

/** A file that nothing imports does nothing; `entries` are started from outside. */
export function deadFiles(sources: readonly Source[], entries: readonly string[]): Problem[] {
  const imported = new Set(sources.flatMap((source) => importsOf(source).map(({ file }) => file)))
  return sources
    .filter(({ path: file }) => !imported.has(file) && !entries.includes(file))
    .map(({ path: file }) => `${file}: nothing imports it`)
}

/** A step type, provider, route or command that its room's `index.ts` does not name is not there. */
export function unregistered(sources: readonly Source[]): Problem[] {
  return sources.flatMap((source) => {
    const room = roomOf(source.path)
    const type = REGISTRIES[room]
    const registry = sources.find(({ path: file }) => file === `src/${room}/index.ts`)
    if (!type || source === registry || !hasEntry(source, type)) return []
    const isNamed = registry && importsOf(registry).some(({ file }) => file === source.path)
    return isNamed ? [] : [`${source.path}: has a ${type} that src/${room}/index.ts does not name`]
  })
}

function hasEntry(source: Source, type: string): boolean {
  let found = false
  visit(source, {
    VariableDeclarator({ id }) {
      const annotation = id.type === 'Identifier' ? id.typeAnnotation?.typeAnnotation : undefined
      if (annotation?.type !== 'TSTypeReference') return
      if (nameOf(annotation.typeName) === type) found = true
    },
  })
  return found
}

/** A file of a pure room that no test of that room imports, itself or through other files of the room. */
export function unreached(sources: readonly Source[], tests: readonly Source[]): Problem[] {
  return PURE.flatMap((room) => {
    const files = sources.filter((source) => roomOf(source.path) === room)
    const reached = new Set<string>()
    const follow = (source: Source) => {
      for (const { file } of importsOf(source)) {
        const next = files.find((one) => one.path === file)
        if (!next || reached.has(next.path)) continue
        reached.add(next.path)
        follow(next)
      }
    }
    tests.filter((one) => one.path.startsWith(`test/${room}/`)).forEach(follow)
    return files
      .filter((source) => !reached.has(source.path) && !isTypesOnly(source))
      .map((source) => `${source.path}: no test in test/${room} reaches it`)
  })
}

/** A step type has its behaviour tested in a file of its own name. */
export function withoutMirror(sources: readonly Source[], tests: readonly Source[]): Problem[] {
  return sources
    .filter((source) => roomOf(source.path) === 'steps' && hasEntry(source, 'StepType'))
    .map((source) => [source, `test/steps/${path.basename(source.path, '.ts')}.test.ts`] as const)
    .filter(([, mirror]) => !tests.some((one) => one.path === mirror))
    .map(([source, mirror]) => `${source.path}: no ${mirror}`)
}

function isTypesOnly(source: Source): boolean {
  return source.program.body.every(
    (node) =>
      node.type === 'ImportDeclaration' ||
      node.type.startsWith('TS') ||
      (node.type === 'ExportNamedDeclaration' &&
        (node.exportKind === 'type' || isTypeNode(node.declaration))),
  )
}

function isTypeNode(node: { readonly type: string } | null): boolean {
  return node !== null && node.type.startsWith('TS')
}

/** Words that say that something is not finished; `?` is any letter, so that this file does not hold them. */
const BANNED = ['TO?O', 'FI?ME', 'X?X', 'HA?K']

export function bannedWords({ path: file, text }: Pick<Source, 'path' | 'text'>): Problem[] {
  return BANNED.flatMap((word) => {
    const found = new RegExp(`\\b${word.replace('?', '[A-Z]')}\\b`).exec(text)
    return found ? [`${file}:${lineOf({ text }, found.index)}: ${found[0]}`] : []
  })
}
