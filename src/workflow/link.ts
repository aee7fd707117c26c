import { createHash } from 'node:crypto'
import type { VersionId } from '../ids.ts'
import { checkMail, fitsLayout, type MailSource } from '../language/templates.ts'
import { didYouMean } from '../language/text.ts'
import { layoutOf } from '../steps/email.ts'
import { errorAt, sortDiagnostics, type Diagnostic, type Problem } from './diagnostic.ts'
import type { Draft, LayoutUse, ParsedWorkflow, PartUse } from './draft.ts'
import {
  LAYOUTS,
  PARTIALS,
  WORKFLOWS,
  isMjml,
  layoutName,
  layoutPath,
  partialPath,
} from './paths.ts'
import { checkTexts } from './locales.ts'
import { inOneGo, weightOfMjml, type Portions } from './portions.ts'
import { useKey, type SharedParts, type UsedPart } from './shared.ts'
import { weightOfSource } from './template-source.ts'
import type { EnvironmentUses, Version } from './workflow.ts'

export type LinkResult =
  | {
      readonly kind: 'version'
      readonly version: Version
      /** Warnings. */
      readonly diagnostics: readonly Diagnostic[]
    }
  | {
      readonly kind: 'invalid'
      readonly diagnostics: readonly Diagnostic[]
      /** What it would need of an environment, as far as it can be read. */
      readonly uses: EnvironmentUses
    }

/**
 * Joins a workflow with the layouts and partials that its templates name, and those that these
 * name, into a version whose id depends on their content and on nothing else.
 */
export function linkVersion(parsed: ParsedWorkflow, shared: SharedParts): LinkResult {
  return inOneGo(linkPortions(parsed, shared))
}

/** The same, part by part: each is looked at when a workflow uses it for the first time. */
export function* linkPortions(parsed: ParsedWorkflow, shared: SharedParts): Portions<LinkResult> {
  const { key, draft } = parsed
  if (draft === undefined) {
    const uses = { channelUses: [], variableUses: [] }
    return { kind: 'invalid', diagnostics: parsed.diagnostics, uses }
  }
  const { used, problems } = yield* closure(draft, shared)
  const parts = [...used.values()]
  const found = parts.flatMap(({ diagnostics }) => diagnostics)
  const texts = [...draft.texts, ...parts.flatMap((part) => part.texts)]
  // All locales belong to a version that uses one text: which text it is may depend on data.
  const locales = texts.length === 0 ? undefined : yield* shared.locales()
  const missed =
    locales === undefined ? [] : [...locales.diagnostics, ...checkTexts(texts, locales)]
  const soFar = sortDiagnostics([...parsed.diagnostics, ...problems, ...found, ...missed])
  const isSound = soFar.every(({ severity }) => severity !== 'error')
  const diagnostics = isSound
    ? sortDiagnostics([...soFar, ...(yield* checkMails(draft, shared, parts))])
    : soFar
  const uses: EnvironmentUses = {
    channelUses: draft.channelUses,
    variableUses: [...draft.variableUses, ...parts.flatMap(({ variables }) => variables)],
  }
  if (diagnostics.some(({ severity }) => severity === 'error')) {
    return { kind: 'invalid', diagnostics, uses }
  }
  const blobs = byPath({
    ...draft.blobs,
    ...Object.fromEntries(parts.map(({ path, blob }) => [path, blob])),
    ...Object.fromEntries((locales?.sources ?? []).map(({ path, blob }) => [path, blob])),
  })
  const version: Version = {
    id: versionId(blobs),
    key,
    workflow: draft.workflow,
    files: byPath({
      ...draft.files,
      ...Object.fromEntries(parts.map(({ path, text }) => [path, text])),
      ...Object.fromEntries((locales?.sources ?? []).map(({ path, text }) => [path, text])),
    }),
    blobs,
    ...uses,
  }
  return { kind: 'version', version, diagnostics }
}

/** SHA-256 over one line for each file, `<path> NUL <blob id>`, in the order of the paths; hex. */
export function versionId(blobs: Readonly<Record<string, string>>): VersionId {
  const hash = createHash('sha256')
  for (const [path, blob] of Object.entries(byPath(blobs))) hash.update(`${path}\0${blob}\n`)
  return hash.digest('hex') as VersionId
}

interface Closure {
  /** By path and purpose. */
  readonly used: ReadonlyMap<string, UsedPart>
  readonly problems: readonly Diagnostic[]
}

function* closure(draft: Draft, shared: SharedParts): Portions<Closure> {
  const used = new Map<string, UsedPart>()
  const problems: Diagnostic[] = []
  const open: PartUse[] = [...draft.parts, ...layoutParts(draft, shared)]
  for (let use = open.pop(); use !== undefined; use = open.pop()) {
    const path = pathOf(use, shared)
    const key = useKey(path, use)
    if (used.has(key)) continue
    const isNew = !shared.isKnown(path, use)
    const part = shared.use(path, use)
    if (part && isNew) yield weightOfSource(part, use)
    if (part === undefined) {
      problems.push(errorAt(use.place.path, use.place, missing(use, shared)))
      continue
    }
    used.set(key, part)
    open.push(...part.parts)
  }
  return { used, problems }
}

/** The layouts of e-mail steps, now that it is known whether there is a default one. */
function layoutParts({ layouts }: Draft, shared: SharedParts): readonly PartUse[] {
  return layouts.flatMap(({ layout, place }) => {
    const name = layoutNameOf(layout, shared)
    if (name === undefined) return []
    return [{ part: 'layout', name, kind: 'html', secrets: false, place } as const]
  })
}

function layoutNameOf(layout: string | undefined, { paths }: SharedParts): string | undefined {
  const step = layout === undefined ? {} : { layout }
  return layoutOf(step, (one) => layoutPath(one, (path) => paths.has(path)) !== undefined)
}

/** A body with the layout that it stands in. */
interface MailParts {
  readonly body: MailSource
  readonly layout: MailSource
}

/** What is wrong with bodies and layouts together, where each by itself is in order; mail by mail. */
function* checkMails(
  { layouts, files }: Draft,
  shared: SharedParts,
  used: readonly UsedPart[],
): Portions<readonly Diagnostic[]> {
  const textOf = (path: string) => files[path] ?? used.find((part) => part.path === path)?.text
  const found: Diagnostic[] = []
  for (const use of layouts) {
    const { layout, place } = use
    const mail = mailParts(use, shared, textOf)
    if (mail === undefined) continue
    if (fitsLayout(mail.body, mail.layout)) {
      const problems = checkMail(mail.body, mail.layout)
      found.push(...problems.map((problem) => errorAt(place.path, place, problem)))
      // A layout of HTML is not compiled with its bodies.
      if (mail.layout.isMjml)
        yield weightOfMjml(mail.layout.source) + weightOfMjml(mail.body.source)
    } else if (layout !== undefined) {
      const message = `the body is MJML and cannot stand in the layout "${layout}"`
      const hint = 'Parts such as <mj-section> go into a layout of MJML; a whole <mjml> is its own.'
      found.push(errorAt(place.path, place, { code: 'mjml_in_layout', message, hint }))
    }
  }
  return found
}

function mailParts(
  { layout, body }: LayoutUse,
  shared: SharedParts,
  textOf: (path: string) => string | undefined,
): MailParts | undefined {
  const name = layoutNameOf(layout, shared)
  const path = name && layoutPath(name, (one) => shared.paths.has(one))
  const outer = path === undefined ? undefined : textOf(path)
  const inner = body && ('text' in body ? body.text : textOf(body.path))
  if (path === undefined || outer === undefined || inner === undefined) return undefined
  return {
    body: { source: inner, isMjml: body !== undefined && 'path' in body && isMjml(body.path) },
    layout: { source: outer, isMjml: isMjml(path) },
  }
}

function pathOf({ part, name }: PartUse, { paths }: SharedParts): string {
  if (part === 'partial') return partialPath(name)
  if (part === 'file') return name
  return layoutPath(name, (path) => paths.has(path)) ?? name
}

function missing({ part, name }: PartUse, shared: SharedParts): Problem {
  if (part === 'file') {
    const plain = name.slice(WORKFLOWS.length + 1)
    return { code: 'file_not_found', message: `there is no file "${plain}"` }
  }
  const [root, end] = part === 'partial' ? [PARTIALS, '.hbs'] : [LAYOUTS, '.html.hbs']
  const known = [...shared.paths].flatMap((path) => {
    if (part === 'layout') return layoutName(path) ?? []
    return path.startsWith(`${root}/`) && path.endsWith(end)
      ? path.slice(root.length + 1, -end.length)
      : []
  })
  const guess = didYouMean(name, known).hint
  return {
    code: `unknown_${part}`,
    message: `there is no ${part} "${name}"`,
    hint: guess ?? `It would be the file ${root}/${name}${end}.`,
  }
}

/** In the order of the paths by code unit, whatever the locale. */
function byPath(record: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const paths = Object.keys(record).toSorted((a, b) => {
    if (a === b) return 0
    return a < b ? -1 : 1
  })
  return Object.fromEntries(paths.map((path) => [path, record[path] ?? '']))
}
