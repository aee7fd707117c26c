import Handlebars from 'handlebars'
import { chargeOutput, chargePartial, chargeStep } from './template-budget.ts'
import { checkProgram } from './template-check.ts'
import type { Escaper } from './template-escape.ts'
import { escapers, textOf } from './template-escape.ts'
import { callable, helpers } from './template-helpers.ts'
import { htmlContext } from './template-html.ts'
import type { OutputKind, Report, TemplateProblem, TemplateTarget } from './template-kinds.ts'
import { markdownContext } from './template-markdown.ts'
import { MADE_BYTES_MAX, parseTemplate } from './template-parse.ts'
import { ESCAPE_PREFIX, flatContext, rewrite, wrap } from './template-rewrite.ts'
import { urlContext } from './template-url-context.ts'
import type { Translations } from './translations.ts'

/**
 * Compiled templates kept, over all versions, in characters of their sources: what is made of one takes some thirty
 * bytes for each.
 */
const COMPILED_MAX = 2_000_000
/** What the shortest one weighs. */
const ENTRY_WEIGHT = 500

export type Partials = Readonly<Record<string, string>>

/**
 * How a template is compiled: for a kind, as a layout, as a leaf whose one value keeps its type, or as a
 * mail that is made from a layout and a body.
 */
export type Form = OutputKind | 'layout' | 'leaf' | 'mail'

/** A template that can be rendered in a scope. */
export type Compiled = (scope: object, translations?: Translations) => string

/** A template, or a partial that it includes, cannot be compiled. */
export class CompileFailure extends Error {
  override readonly name = 'CompileFailure'
  readonly problem: TemplateProblem
  /** The partial that is at fault; the template itself where undefined. */
  readonly partial: string | undefined

  constructor(problem: TemplateProblem, partial?: string) {
    super(problem.message)
    this.problem = problem
    this.partial = partial
  }
}

/** Checks a template and, where nothing is wrong, answers its tree with the escaping put in. */
export function prepare(
  source: string,
  target: TemplateTarget,
): { readonly program?: hbs.AST.Program; readonly problems: readonly TemplateProblem[] } {
  const { program, problem } = parseTemplate(source, target.isMade ? MADE_BYTES_MAX : undefined)
  if (!program) return { problems: [problem] }
  const problems: TemplateProblem[] = []
  const report: Report = (at, code, message, hint) => {
    problems.push({ ...at, code, message, ...(hint !== undefined && { hint }) })
  }
  checkProgram(program, target, report)
  rewriteFor(program, target, report)
  const inOrder = problems.toSorted((a, b) => a.line - b.line || a.column - b.column)
  return { program, problems: inOrder }
}

function rewriteFor(program: hbs.AST.Program, target: TemplateTarget, report: Report): void {
  const { kind, layout } = target
  switch (kind) {
    case 'html':
      rewrite(program, { context: htmlContext, layout, report })
      return
    case 'url':
      rewrite(program, { context: urlContext, layout: false, report })
      return
    case 'markdown':
      rewrite(program, { context: markdownContext, layout: false, report })
      return
    case 'line':
    case 'text':
      rewrite(program, { context: flatContext('none'), layout: false, report })
  }
}

/** The value of the leaf that is being rendered. */
let taken: unknown

const TAKE = 'take'

/** What the only value of the leaf rendered last was. */
export function takenValue(): unknown {
  const value = taken
  taken = undefined
  return value
}

interface Entry {
  readonly compiled: Compiled
  /** Whether it is a leaf of one value, which is then in `takenValue`. */
  readonly takes: boolean
  readonly shelf: Map<string, Entry>
  readonly source: string
}

/** Everything compiled for one set of partials. */
interface Shelf {
  readonly compiled: Map<Form, Map<string, Entry>>
  readonly partials: Map<OutputKind, Record<string, PartialFunction>>
}

type PartialFunction = (context: unknown, options: object) => string
type Run = (context: unknown, options: object) => string

const shelves = new WeakMap<Partials, Shelf>()
/** The order of use over all shelves, oldest first. */
const used = new Set<Entry>()
let weight = 0

/** The compiled template, from memory where it can be. Throws `CompileFailure`. */
export function compiledFor(source: string, form: Form, partials: Partials): Entry {
  const shelf = shelfOf(partials)
  let entries = shelf.compiled.get(form)
  if (!entries) shelf.compiled.set(form, (entries = new Map()))
  const known = entries.get(source)
  if (known) {
    used.delete(known)
    used.add(known)
    return known
  }
  const entry = { ...compile(source, form, partials), shelf: entries, source }
  entries.set(source, entry)
  used.add(entry)
  weight += weightOf(entry)
  while (weight > COMPILED_MAX && used.size > 1) forgetOldest()
  return entry
}

function forgetOldest(): void {
  const [oldest] = used
  if (!oldest) return
  used.delete(oldest)
  weight -= weightOf(oldest)
  oldest.shelf.delete(oldest.source)
}

function weightOf({ source }: Entry): number {
  return source.length + ENTRY_WEIGHT
}

function shelfOf(partials: Partials): Shelf {
  const known = shelves.get(partials)
  if (known) return known
  const made: Shelf = { compiled: new Map(), partials: new Map() }
  shelves.set(partials, made)
  return made
}

const KINDS: Readonly<Record<Form, OutputKind>> = {
  html: 'html',
  markdown: 'markdown',
  url: 'url',
  line: 'line',
  text: 'text',
  layout: 'html',
  leaf: 'text',
  mail: 'html',
}

function compile(
  source: string,
  form: Form,
  partials: Partials,
): Pick<Entry, 'compiled' | 'takes'> {
  const kind = KINDS[form]
  const target: TemplateTarget = {
    kind,
    partials: new Set(Object.keys(partials)),
    layout: form === 'layout' || form === 'mail',
    isMade: form === 'mail',
  }
  const { program, problems } = prepare(source, target)
  if (!program || problems[0]) throw new CompileFailure(problems[0]!)
  const [first] = program.body
  const takes = form === 'leaf' && program.body.length === 1 && first?.type === 'MustacheStatement'
  if (takes) takeValue(first as hbs.AST.MustacheStatement)
  const run = compileProgram(program)
  const included = partialsFor(partials, kind)
  return {
    takes,
    compiled: (scope, translations) => run(scope, runtimeOptions(scope, included, translations)),
  }
}

function takeValue(node: hbs.AST.MustacheStatement): void {
  const [argument] = node.params
  wrap(node, [TAKE])
  node.params = [argument!]
}

function compileProgram(program: hbs.AST.Program): Run {
  const { handlebars, table } = engine()
  const knownHelpers = Object.fromEntries(Object.keys(table).map((name) => [name, true]))
  const run = handlebars.compile(program, {
    knownHelpers,
    knownHelpersOnly: true,
    noEscape: true,
  }) as Run
  return (context, options) => {
    const text = run(context, options)
    // Handlebars has made a function of it and does not ask again, but would keep it: it is most of what a template weighs.
    if (program.body.length > 0) program.body = []
    return text
  }
}

/**
 * Options of a render. They are those of a partial, which spares Handlebars from wrapping each
 * helper again for each render; that is a third of the time of a short template.
 */
function runtimeOptions(
  scope: object,
  partials: Record<string, PartialFunction>,
  translations: Translations | undefined,
): object {
  return {
    partial: true,
    helpers: engine().table,
    partials,
    decorators: {},
    hooks: {},
    data: { root: scope, translations },
    protoAccessControl: OWN_PROPERTIES_ONLY,
  }
}

const OWN_PROPERTIES_ONLY = {
  properties: { whitelist: {}, defaultValue: false },
  methods: { whitelist: {}, defaultValue: false },
} as const

function partialsFor(partials: Partials, kind: OutputKind): Record<string, PartialFunction> {
  const shelf = shelfOf(partials)
  const known = shelf.partials.get(kind)
  if (known) return known
  const made: Record<string, PartialFunction> = Object.create(null) as Record<
    string,
    PartialFunction
  >
  shelf.partials.set(kind, made)
  for (const name of Object.keys(partials)) made[name] = partialFunction(name, partials, kind)
  return made
}

/** A partial is compiled when it is first included, for the kind of what includes it. */
function partialFunction(name: string, partials: Partials, kind: OutputKind): PartialFunction {
  let run: Run | undefined
  return (context, options) =>
    chargePartial(name, () => {
      run ??= compilePartial(name, partials, kind)
      return run(context, options)
    })
}

function compilePartial(name: string, partials: Partials, kind: OutputKind): Run {
  const target = { kind, partials: new Set(Object.keys(partials)), layout: false, isMade: true }
  const { program, problems } = prepare(partials[name] ?? '', target)
  if (!program || problems[0]) throw new CompileFailure(problems[0]!, name)
  return compileProgram(program)
}

interface Engine {
  readonly handlebars: typeof Handlebars
  /** Helpers by name, those that escape included. */
  readonly table: Readonly<Record<string, (this: unknown, ...given: unknown[]) => unknown>>
}

let made: Engine | undefined

/** Handlebars of our own, with no helper but ours; made when the first template is compiled. */
function engine(): Engine {
  made ??= { handlebars: Handlebars.create(), table: helperTable() }
  return made
}

const URL_ESCAPERS = ['url-begin', 'url-next', 'url-part', 'url-opaque'] as const

/** Each way in which the contexts put escapers one after another. */
function chains(): readonly (readonly Escaper[])[] {
  return [
    ...(Object.keys(escapers) as Escaper[]).map((name) => [name]),
    ['html', 'dash'],
    ['css', 'dash'],
    ...URL_ESCAPERS.map((name): readonly Escaper[] => [name, 'html']),
    ...URL_ESCAPERS.map((name): readonly Escaper[] => [name, 'html', 'dash']),
    ...URL_ESCAPERS.map((name): readonly Escaper[] => [name, 'markdown-url']),
    ['url-any', 'markdown-url'],
    ['markdown', 'quotes'],
  ]
}

function helperTable(): Engine['table'] {
  const table: Record<string, (this: unknown, ...given: unknown[]) => unknown> = {}
  for (const [name, helper] of Object.entries(helpers)) table[name] = callable(helper)
  for (const chain of chains()) table[ESCAPE_PREFIX + chain.join(' ')] = escaping(chain)
  table[ESCAPE_PREFIX + TAKE] = (value) => {
    chargeStep()
    taken = value
    return ''
  }
  return table
}

function escaping(chain: readonly Escaper[]): (value: unknown) => string {
  const [first, second, third] = chain.map((name) => escapers[name])
  return (value) => {
    let text = first!(textOf(value))
    if (second) text = second(text)
    if (third) text = third(text)
    chargeOutput(text.length)
    return text
  }
}
