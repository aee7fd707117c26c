import type { Diagnostic } from './diagnostic.ts'
import { errorAt, sortDiagnostics } from './diagnostic.ts'
import type { Entry } from './draft.ts'
import { checkEntry } from './entry.ts'
import { LAYOUTS, isShared } from './paths.ts'
import type { Portions } from './portions.ts'
import { decodeText } from './text.ts'
import {
  TEMPLATE_BYTES_MAX,
  fileSource,
  readSource,
  type TemplatePurpose,
} from './template-source.ts'
import type { PartUse, TextUse } from './draft.ts'
import { parseLocales, type Locales } from './locales.ts'
import type { VariableUse } from './workflow.ts'

/** A layout or partial as one kind of template uses it. */
export interface UsedPart {
  readonly path: string
  readonly blob: string
  readonly text: string
  readonly diagnostics: readonly Diagnostic[]
  readonly parts: readonly PartUse[]
  readonly variables: readonly VariableUse[]
  readonly texts: readonly TextUse[]
}

/** The layouts, partials and locales of a revision. */
export interface SharedParts {
  /** Every file, by path from the repository's root. */
  readonly paths: ReadonlySet<string>
  /** Links and submodules among them; sorted. */
  readonly diagnostics: readonly Diagnostic[]
  /** The part at `path`, looked at for one purpose; undefined where there is none. */
  use(path: string, purpose: TemplatePurpose): UsedPart | undefined
  /** Whether it was looked at for this purpose already. */
  isKnown(path: string, purpose: TemplatePurpose): boolean
  /** The texts of `_locales/`, looked at file by file when the first template uses one. */
  locales(): Portions<Locales>
}

/**
 * Takes the files below `workflows/_layouts` and `workflows/_partials`, by path from the
 * repository's root. Each is looked at when a workflow uses it, once for each purpose: what nothing
 * uses may be unfinished.
 */
export function parseSharedParts(files: ReadonlyMap<string, Entry>): SharedParts {
  const shared = new Map([...files].filter(([path]) => isShared(path)))
  const refused = [...shared].flatMap(([path, entry]) => checkEntry(path, entry))
  for (const { path } of refused) shared.delete(path)
  const known = new Map<string, UsedPart>()
  let locales: Locales | undefined
  return {
    paths: new Set(shared.keys()),
    diagnostics: sortDiagnostics(refused),
    *locales() {
      return (locales ??= yield* parseLocales(shared))
    },
    isKnown: (path, purpose) => known.has(useKey(path, purpose)),
    use(path, purpose) {
      const entry = shared.get(path)
      if (entry === undefined) return undefined
      const key = useKey(path, purpose)
      const used = known.get(key) ?? look(path, entry, purpose)
      known.set(key, used)
      return used
    },
  }
}

/** One use of a part; all others for the same purpose are the same. */
export function useKey(path: string, { kind, secrets }: TemplatePurpose): string {
  return `${path}\0${kind}\0${secrets}`
}

const NOTHING = { parts: [], variables: [], texts: [] } as const

const CONTENT = /\{\{\{~?\s*content\s*~?\}\}\}/

function look(path: string, { blob, bytes }: Entry, purpose: TemplatePurpose): UsedPart {
  const decoded = decodeText(path, bytes, TEMPLATE_BYTES_MAX)
  if (decoded.kind === 'invalid') {
    return { path, blob, text: '', diagnostics: [decoded.diagnostic], ...NOTHING }
  }
  const { text } = decoded
  const isLayout = path.startsWith(`${LAYOUTS}/`)
  const { diagnostics, parts, variables, texts } = readSource(fileSource(path, text), {
    ...purpose,
    isLayout,
  })
  if (!isLayout || diagnostics.length > 0 || CONTENT.test(text)) {
    return { path, blob, text, diagnostics, parts, variables, texts }
  }
  const message = 'the layout has no {{{content}}}, where the body goes'
  const problem = errorAt(path, { line: 1, column: 1 }, { code: 'layout_without_content', message })
  return { path, blob, text, diagnostics: [problem], ...NOTHING }
}
