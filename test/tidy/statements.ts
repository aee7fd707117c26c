import { at, nameOf, visit, type Problem, type Source } from './source.ts'

/** A function whose statements serve all environments at once. */
export interface AllEnvironments {
  /** `src/runs/store.ts#listDue`. */
  readonly where: string
  readonly why: string
}

/** Statements that do not name an environment on purpose. */
export const ALL_ENVIRONMENTS: readonly AllEnvironments[] = []

/** The tables of a migration that have a column `environment`. */
export function environmentTables(migration: string): string[] {
  const tables = migration.matchAll(/create table (\w+) \(([^]*?)\n\)/g)
  return [...tables].flatMap(([, name = '', body = '']) =>
    /^\s*environment\b/m.test(body) ? [name] : [],
  )
}

/** Each statement on such a table names the environment it is about. */
export function unscopedStatements(
  source: Source,
  tables: readonly string[],
  exempt: readonly AllEnvironments[] = ALL_ENVIRONMENTS,
): Problem[] {
  const uses = new RegExp(
    `\\b(?:from|join|into|update|using)\\s+(?:only\\s+)?(${tables.join('|')})\\b`,
    'i',
  )
  const problems: Problem[] = []
  const within: string[] = []
  const enter = (name: string) => void within.push(name)
  const leave = () => void within.pop()
  visit(source, {
    FunctionDeclaration: (node) => enter(nameOf(node.id)),
    'FunctionDeclaration:exit': leave,
    MethodDefinition: (node) => enter(nameOf(node.key)),
    'MethodDefinition:exit': leave,
    VariableDeclarator: (node) => enter(nameOf(node.id)),
    'VariableDeclarator:exit': leave,
    TaggedTemplateExpression(node) {
      if (nameOf(node.tag) !== 'sql') return
      const text = node.quasi.quasis.map((part) => part.value.raw).join('?')
      const table = uses.exec(text)?.[1]
      if (!table || /\benvironment\b/.test(text)) return
      const places = new Set(within.map((name) => `${source.path}#${name}`))
      if (exempt.some(({ where }) => places.has(where))) return
      problems.push(at(source, node, `a statement on ${table} that names no environment`))
    },
  })
  return problems
}
