import { isTimeZone } from './template-date.ts'
import type { Helper } from './template-helpers.ts'
import { helpers } from './template-helpers.ts'
import type { Report, TemplateTarget } from './template-kinds.ts'
import { isLayoutContent, placeOf } from './template-rewrite.ts'
import { nearest } from './template-words.ts'

interface Checking {
  readonly target: TemplateTarget
  readonly report: Report
  /** Names that enclosing blocks give to their items. */
  readonly names: readonly string[]
}

interface Call extends hbs.AST.Node {
  readonly path: hbs.AST.PathExpression
  readonly params: readonly hbs.AST.Expression[]
  readonly hash?: hbs.AST.Hash
}

/** Reports what a parsed template must not hold: unknown names, wrong arguments, refused syntax. */
export function checkProgram(
  program: hbs.AST.Program,
  target: TemplateTarget,
  report: Report,
): void {
  walk(program, { target, report, names: [] })
}

function walk(program: hbs.AST.Program | undefined, checking: Checking): void {
  if (!program) return
  const names = [...checking.names, ...(program.blockParams ?? [])]
  for (const node of program.body) checkStatement(node, { ...checking, names })
}

function checkStatement(node: hbs.AST.Statement, checking: Checking): void {
  const refuse = (code: string, message: string, hint?: string) =>
    checking.report(placeOf(node), code, message, hint)
  switch (node.type) {
    case 'MustacheStatement':
      checkMustache(node as hbs.AST.MustacheStatement, checking)
      return
    case 'BlockStatement':
      checkBlock(node as hbs.AST.BlockStatement, checking)
      return
    case 'PartialStatement':
      checkPartial(node as hbs.AST.PartialStatement, checking)
      return
    case 'PartialBlockStatement':
      refuse('unsupported_syntax', 'partial blocks are not supported', 'use {{> name}} or a layout')
      return
    case 'Decorator':
    case 'DecoratorBlock':
      refuse(
        'unsupported_syntax',
        'decorators and inline partials are not supported',
        'put the partial into a file of its own',
      )
  }
}

function checkMustache(node: hbs.AST.MustacheStatement, checking: Checking): void {
  const { kind, layout } = checking.target
  if (!node.escaped && !(layout && isLayoutContent(node)) && kind !== 'text' && kind !== 'line') {
    checking.report(
      placeOf(node),
      'unescaped_value',
      'a value cannot be left unescaped',
      'write {{value}}',
    )
  }
  checkCall(node as unknown as Call, 'value', checking)
}

function checkBlock(node: hbs.AST.BlockStatement, checking: Checking): void {
  const { path } = node
  if (isRawBlock(node)) {
    checking.report(placeOf(node), 'unsupported_syntax', 'raw blocks are not supported')
    return
  }
  if (!helperOf(path, checking.names) && node.params.length === 0) {
    checking.report(
      placeOf(node),
      'unknown_helper',
      `"${path.original}" is not a block`,
      `write {{#if ${path.original}}}, {{#each ${path.original}}} or {{#with ${path.original}}}`,
    )
  } else checkCall(node, 'block', checking)
  walk(node.program, checking)
  walk(node.inverse, checking)
}

/** The parser marks a raw block only by leaving out how its tags strip white space. */
function isRawBlock(node: hbs.AST.BlockStatement): boolean {
  return Object.keys(node.openStrip ?? {}).length === 0
}

function checkPartial(node: hbs.AST.PartialStatement, checking: Checking): void {
  const { report, target } = checking
  if (node.name.type === 'SubExpression') {
    report(
      placeOf(node),
      'unsupported_syntax',
      'a partial cannot have a computed name',
      'choose between partials with {{#if}}',
    )
    return
  }
  const name = node.name.original
  if (!target.partials.has(name)) {
    const hint = suggestion(name, target.partials)
    report(placeOf(node.name), 'unknown_partial', `there is no partial "${name}"`, hint)
  }
  if (node.params.length > 1) {
    report(placeOf(node), 'wrong_arguments', 'a partial takes at most one unnamed argument')
  }
  for (const argument of node.params) checkExpression(argument, checking)
  for (const pair of node.hash?.pairs ?? []) checkExpression(pair.value, checking)
}

function checkCall(node: Call, use: Helper['use'], checking: Checking): void {
  const { path } = node
  const named = node.hash?.pairs ?? []
  const helper = helperOf(path, checking.names)
  if (helper) checkHelper(node, helper, use, checking)
  else if (node.params.length > 0 || named.length > 0 || node.type !== 'MustacheStatement') {
    // A literal can stand in the place of the name: {{"a" b}}, {{5 b}}.
    const name = String((path as { readonly original: unknown }).original)
    const hint = suggestion(name, Object.keys(helpers))
    checking.report(placeOf(path), 'unknown_helper', `there is no helper "${name}"`, hint)
  }
  for (const argument of node.params) checkExpression(argument, checking)
  for (const pair of named) checkExpression(pair.value, checking)
}

/** The helper that the path names, unless something around claims the name. */
function helperOf(path: hbs.AST.PathExpression, names: readonly string[]): Helper | undefined {
  return isName(path, names) && Object.hasOwn(helpers, path.original)
    ? helpers[path.original]
    : undefined
}

function checkExpression(node: hbs.AST.Expression, checking: Checking): void {
  if (node.type === 'SubExpression') checkCall(node as Call, 'value', checking)
}

/** Whether the path is a single word that nothing around it claims, so that it can name a helper. */
function isName(path: hbs.AST.PathExpression, names: readonly string[]): boolean {
  if (path.type !== 'PathExpression' || path.data || path.depth > 0) return false
  if (path.parts.length !== 1 || /^(?:this\b|\.)/.test(path.original)) return false
  return !names.includes(path.original)
}

function checkHelper(node: Call, helper: Helper, use: Helper['use'], checking: Checking): void {
  const name = node.path.original
  const wrong = (code: string, message: string, hint?: string) =>
    checking.report(placeOf(node.path), code, message, hint)
  if (helper.use !== use) {
    if (use === 'value')
      wrong('wrong_arguments', `"${name}" is a block`, `write {{#${name} …}}…{{/${name}}}`)
    else wrong('wrong_arguments', `"${name}" is not a block`, `write {{#if (${name} …)}}…{{/if}}`)
    return
  }
  const [least, most] = helper.arguments
  const count = node.params.length
  if (count < least || count > most) {
    wrong(
      'wrong_arguments',
      `"${name}" takes ${least === most ? least : `${least} to ${most}`} ${most === 1 ? 'argument' : 'arguments'}, not ${count}`,
      count === 0 ? `for the value of that name, write {{this.${name}}}` : undefined,
    )
  }
  for (const pair of node.hash?.pairs ?? []) checkNamed(pair, name, helper, checking)
}

function checkNamed(
  pair: hbs.AST.HashPair,
  name: string,
  helper: Helper,
  checking: Checking,
): void {
  const wrong = (message: string, hint?: string) =>
    checking.report(placeOf(pair), 'wrong_arguments', message, hint)
  if (!Object.hasOwn(helper.named, pair.key)) {
    if (helper.isOpen) return
    wrong(
      `"${name}" has no argument "${pair.key}"`,
      suggestion(pair.key, Object.keys(helper.named)),
    )
    return
  }
  if (pair.value.type !== 'StringLiteral') return
  const { value } = pair.value as hbs.AST.StringLiteral
  const allowed = helper.named[pair.key]
  if (allowed && !allowed.includes(value)) {
    wrong(`"${value}" is not one of ${allowed.join(', ')}`, suggestion(value, allowed))
  }
  const known: boolean = pair.key !== 'zone' || isTimeZone(value)
  if (!known) wrong(`there is no time zone "${value}"`)
}

function suggestion(word: string, candidates: Iterable<string>): string | undefined {
  const near = nearest(word, candidates)
  return near === undefined ? undefined : `did you mean "${near}"?`
}
