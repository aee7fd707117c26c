import { checkTemplate, templateUses } from '../language/templates.ts'
import type { OutputKind } from '../steps/step.ts'
import { errorAt, type Diagnostic, type Position } from './diagnostic.ts'
import type { PartUse, Place, TextUse } from './draft.ts'
import type { NameUse } from './names.ts'
import { isMjml } from './paths.ts'
import { weightOfMjml, weightOfTemplate } from './portions.ts'
import { positionAt } from './text.ts'
import type { VariableUse } from './workflow.ts'

/** How large a template may be. */
export const TEMPLATE_BYTES_MAX = 64 * 1024

/** A template's text, and how its lines and columns map into the file that holds it. */
export interface TemplateSource {
  readonly path: string
  readonly text: string
  readonly locate: (at: Position) => Position
}

/** A template that is a whole file. */
export function fileSource(path: string, text: string): TemplateSource {
  return { path, text, locate: ({ line, column }) => ({ line, column }) }
}

/** What a template is for. */
export interface TemplatePurpose {
  readonly kind: OutputKind
  readonly secrets: boolean
  /** Set for a layout, which has `{{{content}}}`. */
  readonly isLayout?: boolean
}

/** What a template names; nothing where something is wrong with it. */
export interface TemplateReading {
  /** What is wrong with it by itself; whether its partials exist is asked elsewhere. */
  readonly diagnostics: readonly Diagnostic[]
  readonly parts: readonly PartUse[]
  readonly variables: readonly VariableUse[]
  /** Everything that it names in the scope. */
  readonly names: readonly NameUse[]
  readonly texts: readonly TextUse[]
}

const NOTHING = { parts: [], variables: [], names: [], texts: [] } as const

/** What `readSource` is worth. */
export function weightOfSource(
  { path, text }: Pick<TemplateSource, 'path' | 'text'>,
  { kind }: Pick<TemplatePurpose, 'kind'>,
): number {
  return kind === 'html' && isMjml(path) ? weightOfMjml(text) : weightOfTemplate(text)
}

/** Checks a template for one purpose, and finds the partials and variables that it names. */
export function readSource(
  { path, text, locate }: TemplateSource,
  { kind, secrets, isLayout }: TemplatePurpose,
): TemplateReading {
  const isCompiled = kind === 'html' && isMjml(path)
  if (!text.includes('{{') && !isCompiled) return { diagnostics: [], ...NOTHING }
  const calls = partialCalls(text)
  const partials = new Set(calls.keys())
  const problems = checkTemplate(text, {
    kind,
    partials,
    layout: isLayout === true,
    isMjml: isCompiled,
  })
  if (problems.length > 0) {
    const diagnostics = problems.map((problem) => errorAt(path, locate(problem), problem))
    return { diagnostics, ...NOTHING }
  }
  const uses = templateUses(text)
  const parts = uses.partials.map((name): PartUse => {
    const at = positionAt(text, calls.get(name) ?? 0)
    return { part: 'partial', name, kind, secrets, place: { path, ...locate(at) } }
  })
  const names = uses.variables.map((use) => ({ path: use.path, place: { path, ...locate(use) } }))
  const variables = uses.variables.flatMap((use) =>
    variableUse(
      use.path,
      () => ({ path, ...locate(use) }),
      // A secret is put in when the message is handed over; a helper would work on what stands for it.
      secrets && !use.isWorkedOn,
    ),
  )
  const texts = uses.texts.map(({ key, ...at }) => ({
    key: key ?? null,
    place: { path, ...locate(at) },
  }))
  return { diagnostics: [], parts, variables, names, texts }
}

/**
 * A path such as `vars.app_url.host` as a use of the variable `app_url`; any other as none, and so
 * are all variables together (`*`): secrets are not among those that a message can loop over.
 */
export function variableUse(
  path: string,
  place: () => Place,
  secrets: boolean,
): readonly VariableUse[] {
  const [root, name] = path.split('.')
  if (root !== 'vars' || name === undefined || name === '' || name === '*') return []
  return [{ name, secrets, ...place() }]
}

const PARTIAL_CALL = /\{\{~?#?>\s*(["']?)([^\s}~|"']+)\1/g

/** What stands where a template calls a partial, with the offset of its first such place. */
function partialCalls(text: string): ReadonlyMap<string, number> {
  const calls = new Map<string, number>()
  for (const call of text.matchAll(PARTIAL_CALL)) {
    const name = call[2] ?? ''
    if (!calls.has(name)) calls.set(name, call.index + call[0].lastIndexOf(name))
  }
  return calls
}
