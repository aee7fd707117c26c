import fs from 'node:fs'
import path from 'node:path'
import { parseSync, Visitor, type Node, type Program, type VisitorObject } from 'oxc-parser'

/** A file of ours as a rule sees it. Rules are functions of these, so that small samples can prove them. */
export interface Source {
  /** From the root of the repository, with `/`. */
  readonly path: string
  readonly text: string
  readonly program: Program
  /** Offsets of comments. */
  readonly comments: readonly { readonly start: number; readonly end: number }[]
}

/** One place where a rule is broken, as a test prints it. */
export type Problem = string

export function parseSource(file: string, text: string): Source {
  const { program, comments, errors } = parseSync(file, text)
  if (errors[0]) throw new Error(`${file}: ${errors[0].message}`)
  return { path: file, text, program, comments }
}

/** Every TypeScript file under the folders. */
export function readSources(...folders: readonly string[]): Source[] {
  return folders.flatMap((folder) =>
    fs
      .readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => path.posix.join(folder, name.replaceAll(path.sep, '/')))
      .toSorted()
      .map((file) => parseSource(file, fs.readFileSync(file, 'utf8'))),
  )
}

export function visit(source: Source, visitor: VisitorObject): void {
  new Visitor(visitor).visit(source.program)
}

export function lineOf(source: Pick<Source, 'text'>, offset: number): number {
  return source.text.slice(0, offset).split('\n').length
}

export function at(source: Source, node: { readonly start: number }, text: string): Problem {
  return `${source.path}:${lineOf(source, node.start)}: ${text}`
}

export interface Import {
  /** As written: `node:fs`, `pg`, `./sql.ts`. */
  readonly module: string
  /** The imported file from the root of the repository, for our own. */
  readonly file: string | undefined
  /** Nothing of it is left at run time. */
  readonly isType: boolean
  /** Undefined: everything, as a namespace or by a dynamic import. */
  readonly names: readonly string[] | undefined
  readonly start: number
}

/** Static and dynamic imports, and what is exported from elsewhere. */
export function importsOf(source: Source): Import[] {
  const imports: Import[] = []
  const add = (module: string, rest: Omit<Import, 'module' | 'file'>) =>
    imports.push({ module, file: ownFile(source.path, module), ...rest })
  visit(source, {
    ImportDeclaration(node) {
      const named = node.specifiers.filter((one) => one.type === 'ImportSpecifier')
      const isNamed = named.length === node.specifiers.length
      const areTypes = named.length > 0 && named.every((one) => one.importKind === 'type')
      add(node.source.value, {
        isType: node.importKind === 'type' || (isNamed && areTypes),
        names: isNamed ? named.map((one) => nameOf(one.imported)) : undefined,
        start: node.start,
      })
    },
    ImportExpression(node) {
      if (node.source.type !== 'Literal' || typeof node.source.value !== 'string') return
      add(node.source.value, { isType: false, names: undefined, start: node.start })
    },
    ExportNamedDeclaration(node) {
      if (!node.source) return
      const isType = node.exportKind === 'type'
      add(node.source.value, { isType, names: undefined, start: node.start })
    },
    ExportAllDeclaration(node) {
      const isType = node.exportKind === 'type'
      add(node.source.value, { isType, names: undefined, start: node.start })
    },
  })
  return imports
}

/** The name of an identifier, or the text of a string that stands for one. */
export function nameOf(node: Node | null | undefined): string {
  if (node?.type === 'Identifier') return node.name
  return node?.type === 'Literal' ? String(node.value) : ''
}

/** `a.b` as its two names, when the expression is one. */
export function memberOf(node: Node): readonly [string, string] | undefined {
  if (node.type !== 'MemberExpression' || node.object.type !== 'Identifier') return undefined
  return [node.object.name, nameOf(node.property)]
}

function ownFile(from: string, module: string): string | undefined {
  // As the `imports` of package.json say.
  if (module.startsWith('#src/')) return module.slice(1)
  if (!module.startsWith('.')) return undefined
  return path.posix.join(path.posix.dirname(from), module)
}
