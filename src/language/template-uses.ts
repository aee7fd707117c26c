import { helpers } from './template-helpers.ts'
import { parseTemplate } from './template-parse.ts'
import { placeOf } from './template-rewrite.ts'

/** A value that a template names, by its full path from the scope; `*` stands for each item. */
export interface VariableUse {
  readonly path: string
  readonly line: number
  readonly column: number
  /** Whether a helper works on the value, so that a secret cannot be put in afterwards. */
  readonly isWorkedOn?: true
}

/** A call of `t`; the key is undefined where it is computed. */
export interface TextUse {
  readonly key: string | undefined
  readonly line: number
  readonly column: number
}

export interface TemplateUses {
  readonly partials: readonly string[]
  readonly variables: readonly VariableUse[]
  readonly texts: readonly TextUse[]
}

/** What a path is relative to. `undefined`: a computed value, whose paths cannot be said. */
type Base = readonly string[] | undefined

interface Place {
  /** The contexts around, innermost last; `../` goes back. */
  readonly contexts: readonly Base[]
  /** Names of block parameters, innermost last. */
  readonly names: readonly (readonly [name: string, base: Base])[]
  /** Set inside the arguments of a helper that works on them. */
  readonly isWorkedOn?: true
}

interface Found {
  readonly partials: Set<string>
  readonly variables: VariableUse[]
  readonly texts: TextUse[]
}

/** The partials and values that a template names. Empty lists for source that does not parse. */
export function usesOf(source: string): TemplateUses {
  const { program } = parseTemplate(source)
  const found: Found = { partials: new Set(), variables: [], texts: [] }
  walk(program, { contexts: [[]], names: [] }, found)
  return { partials: [...found.partials], variables: found.variables, texts: found.texts }
}

function walk(program: hbs.AST.Program | undefined, place: Place, found: Found): void {
  for (const node of program?.body ?? []) {
    if (node.type === 'MustacheStatement') {
      useCall(node as hbs.AST.MustacheStatement, place, found)
    } else if (node.type === 'PartialStatement' || node.type === 'PartialBlockStatement') {
      const { name, params, hash } = node as hbs.AST.PartialStatement
      if (name.type !== 'SubExpression') {
        found.partials.add(name.original)
      }
      useArguments({ params, hash }, place, found)
      walk((node as hbs.AST.PartialBlockStatement).program, place, found)
    } else if (node.type === 'BlockStatement')
      useBlock(node as hbs.AST.BlockStatement, place, found)
  }
}

function useBlock(node: hbs.AST.BlockStatement, place: Place, found: Found): void {
  const helper = node.path.original
  useArguments(node, place, found)
  walk(node.inverse, place, found)
  const [subject] = node.params
  const base = subject ? baseOf(subject, place) : undefined
  const names = node.program?.blockParams ?? []
  if (helper === 'each' || helper === 'with') {
    const item = helper === 'each' ? base && [...base, '*'] : base
    const bound = names.map((name, index) => [name, index === 0 ? item : undefined] as const)
    walk(
      node.program,
      { contexts: [...place.contexts, item], names: [...place.names, ...bound] },
      found,
    )
  } else walk(node.program, place, found)
}

function useCall(
  node: Pick<hbs.AST.MustacheStatement, 'path' | 'params' | 'hash'>,
  place: Place,
  found: Found,
): void {
  if (node.params.length === 0 && !node.hash) useExpression(node.path, place, found)
  else useHelper(node, place, found)
}

function useHelper(
  node: Pick<hbs.AST.MustacheStatement, 'path' | 'params' | 'hash'>,
  place: Place,
  found: Found,
): void {
  const name = (node.path as hbs.AST.PathExpression).original
  const [key] = node.params
  if (name === 't' && key && !place.names.some(([bound]) => bound === 't')) {
    const isLiteral = key.type === 'StringLiteral'
    const value = isLiteral ? (key as hbs.AST.StringLiteral).value : undefined
    found.texts.push({ key: value, ...placeOf(key) })
  }
  const passes = Object.hasOwn(helpers, name) && helpers[name]?.passesSecrets === true
  useArguments(node, passes ? place : { ...place, isWorkedOn: true }, found)
}

function useArguments(
  node: { readonly params: readonly hbs.AST.Expression[]; readonly hash?: hbs.AST.Hash },
  place: Place,
  found: Found,
): void {
  for (const argument of node.params) useExpression(argument, place, found)
  for (const pair of node.hash?.pairs ?? []) useExpression(pair.value, place, found)
}

function useExpression(node: hbs.AST.Expression, place: Place, found: Found): void {
  if (node.type === 'SubExpression') {
    useHelper(node as hbs.AST.SubExpression, place, found)
    return
  }
  const base = baseOf(node, place)
  if (!base || base.length === 0) return
  const { isWorkedOn } = place
  found.variables.push({
    path: base.join('.'),
    ...placeOf(node),
    ...(isWorkedOn && { isWorkedOn }),
  })
}

function baseOf(node: hbs.AST.Expression, place: Place): Base {
  if (node.type !== 'PathExpression') return undefined
  const path = node as hbs.AST.PathExpression
  if (path.data) return path.parts[0] === 'root' ? path.parts.slice(1) : undefined
  const scoped = /^(?:this\b|\.)/.test(path.original)
  const bound = scoped ? undefined : place.names.findLast(([name]) => name === path.parts[0])
  const base = bound ? bound[1] : place.contexts.at(-1 - path.depth)
  return base && [...base, ...(bound ? path.parts.slice(1) : path.parts)]
}
