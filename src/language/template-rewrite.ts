import type { Escaper } from './template-escape.ts'
import { helpers } from './template-helpers.ts'
import type { Report } from './template-kinds.ts'

/** Says a problem of the place that is being walked over. */
export type Complain = (code: string, message: string, hint?: string) => void

/** Follows the state of an output format over a template's text, to choose how each value is escaped. */
export interface Context<State> {
  readonly initial: State
  literal(state: State, text: string, complain: Complain): State
  value(
    state: State,
    complain: Complain,
  ): { readonly escapers: readonly Escaper[]; readonly next: State }
  /** Whether safe HTML may stand here. */
  markup(state: State): boolean
  partial(state: State, complain: Complain): State
  /** The state in which the body of a loop begins, which may have run before. */
  loop(state: State): State
  join(left: State, right: State, complain: Complain): State
  end(state: State, complain: Complain): void
}

/** Prefix of the helpers that escape; no name in a template begins with a space. */
export const ESCAPE_PREFIX = ' '

export interface Rewriting<State> {
  readonly context: Context<State>
  readonly layout: boolean
  readonly report: Report
}

/**
 * Wraps each value of a parsed template in the call that escapes it for its place. Changes the
 * tree in place.
 */
export function rewrite<State>(program: hbs.AST.Program, rewriting: Rewriting<State>): void {
  const { context, report } = rewriting
  const state = walk(program, context.initial, rewriting)
  const { line, column } = program.loc?.end ?? { line: 1, column: 0 }
  context.end(state, (code, message, hint) =>
    report({ line, column: column + 1 }, code, message, hint),
  )
}

function walk<State>(
  program: hbs.AST.Program | undefined,
  start: State,
  rewriting: Rewriting<State>,
): State {
  let state = start
  for (const node of program?.body ?? []) state = step(node, state, rewriting)
  return state
}

function step<State>(node: hbs.AST.Statement, state: State, rewriting: Rewriting<State>): State {
  const { context, report } = rewriting
  const complain: Complain = (code, message, hint) => report(placeOf(node), code, message, hint)
  switch (node.type) {
    case 'ContentStatement':
      return context.literal(state, (node as hbs.AST.ContentStatement).value, complain)
    case 'MustacheStatement':
      return value(node as hbs.AST.MustacheStatement, state, rewriting)
    case 'PartialStatement':
      return context.partial(state, complain)
    case 'BlockStatement': {
      const block = node as hbs.AST.BlockStatement
      const loops = block.path.original === 'each'
      const entry = loops ? context.loop(state) : state
      const body = walk(block.program, entry, rewriting)
      const other = walk(block.inverse, state, rewriting)
      const joined = context.join(body, other, complain)
      return loops ? context.join(joined, context.join(entry, body, complain), complain) : joined
    }
    default:
      return state
  }
}

function value<State>(
  node: hbs.AST.MustacheStatement,
  state: State,
  { context, layout, report }: Rewriting<State>,
): State {
  const complain: Complain = (code, message, hint) => report(placeOf(node), code, message, hint)
  if (layout && isLayoutContent(node)) {
    if (!context.markup(state)) {
      complain('unsafe_context', '{{{content}}} stands where no markup can stand')
    }
    const { loc } = node
    // The content is that of the whole mail, also where a block has changed the scope.
    const parts = ['root', 'content']
    const path = {
      type: 'PathExpression',
      data: true,
      depth: 0,
      parts,
      original: '@root.content',
      loc,
    }
    wrap(Object.assign(node, { path }), ['none'])
    return state
  }
  if (isMarkupCall(node)) {
    if (!context.markup(state)) {
      const name = (node.path as hbs.AST.PathExpression).original
      complain('unsafe_context', `"${name}" makes HTML, which stands in the text of HTML only`)
    }
    wrap(node, ['none'])
    return state
  }
  const { escapers, next } = context.value(state, complain)
  wrap(node, escapers)
  return next
}

/** Whether the node is exactly `{{{content}}}`. */
export function isLayoutContent(node: hbs.AST.MustacheStatement): boolean {
  return (
    !node.escaped &&
    node.params.length === 0 &&
    !node.hash &&
    (node.path as hbs.AST.PathExpression).original === 'content'
  )
}

/** Whether the node calls a helper that answers safe HTML. */
function isMarkupCall({ path, params }: hbs.AST.MustacheStatement): boolean {
  const { original } = path as hbs.AST.PathExpression
  return (
    params.length > 0 && Object.hasOwn(helpers, original) && helpers[original]?.isMarkup === true
  )
}

/** Makes the node a call of the helper `name` with what it was as the argument. */
export function wrap(node: hbs.AST.MustacheStatement, escapers: readonly string[]): void {
  const { loc } = node
  const name = ESCAPE_PREFIX + escapers.join(' ')
  const call = node.params.length > 0 || Boolean(node.hash)
  const argument = call
    ? { type: 'SubExpression', path: node.path, params: node.params, hash: node.hash, loc }
    : node.path
  Object.assign(node, {
    path: { type: 'PathExpression', data: false, depth: 0, parts: [name], original: name, loc },
    params: [argument],
    hash: undefined,
    escaped: true,
  })
}

/** Where a node begins, from 1. */
export function placeOf(node: hbs.AST.Node): { line: number; column: number } {
  return { line: node.loc.start.line, column: node.loc.start.column + 1 }
}

/** The context of a format in which each place is like any other. */
export function flatContext(escaper: Escaper): Context<null> {
  return {
    initial: null,
    literal: (state) => state,
    value: (state) => ({ escapers: [escaper], next: state }),
    markup: () => false,
    partial: (state) => state,
    loop: (state) => state,
    join: (left) => left,
    end: () => undefined,
  }
}
