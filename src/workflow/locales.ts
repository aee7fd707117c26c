import { didYouMean } from '../language/text.ts'
import {
  PLACEHOLDER,
  PLURAL_FORMS,
  type LocaleTexts,
  type Translation,
} from '../language/translations.ts'
import { errorAt, sortDiagnostics, type Diagnostic } from './diagnostic.ts'
import type { Entry, TextUse } from './draft.ts'
import { parseYaml, type ParsedFile, type Pointer } from './parse.ts'
import { LOCALES } from './paths.ts'
import { weightOfYaml, type Portions } from './portions.ts'

/** What `_locales/` says, and the files that say it. */
export interface Locales {
  /** Sorted. */
  readonly diagnostics: readonly Diagnostic[]
  readonly files: readonly LocaleTexts[]
  readonly sources: readonly {
    readonly path: string
    readonly blob: string
    readonly text: string
  }[]
}

const START = { line: 1, column: 1 }
const NAME = /^(?:([a-z][a-z0-9_-]*)\.)?([A-Za-z]{2,8}(?:[-_][A-Za-z0-9]{1,8})*)\.(?:ya?ml|json)$/

/** Reads the files of `_locales/` among the shared files, in the order of their paths, one a portion. */
export function* parseLocales(shared: ReadonlyMap<string, Entry>): Portions<Locales> {
  const diagnostics: Diagnostic[] = []
  const files: LocaleTexts[] = []
  const sources: { path: string; blob: string; text: string }[] = []
  for (const [path, { blob, bytes }] of [...shared].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    if (!path.startsWith(`${LOCALES}/`) || !/\.(?:ya?ml|json)$/.test(path)) continue
    const read = readLocale(path, bytes)
    yield weightOfYaml(bytes.byteLength)
    diagnostics.push(...read.diagnostics)
    if (read.file === undefined) continue
    files.push(read.file)
    sources.push({ path, blob, text: new TextDecoder().decode(bytes) })
  }
  return { diagnostics: sortDiagnostics(diagnostics), files, sources }
}

/** The texts among the files of a version, which were in order when it was made. */
export function readLocales(files: Readonly<Record<string, string>>): readonly LocaleTexts[] {
  return Object.entries(files).flatMap(([path, text]) => {
    if (!path.startsWith(`${LOCALES}/`)) return []
    return readLocale(path, Buffer.from(text)).file ?? []
  })
}

interface ReadLocale {
  readonly diagnostics: readonly Diagnostic[]
  readonly file?: LocaleTexts
}

function readLocale(path: string, bytes: Uint8Array): ReadLocale {
  const place = placeOf(path)
  if (place === undefined) {
    const problem = {
      code: 'invalid_locale_file',
      message: 'the name of this file is no language tag',
      hint: 'It is _locales/de-AT.yaml, _locales/<namespace>.de-AT.yaml, or the same in _locales/tenants/<tenant>/.',
    }
    return { diagnostics: [errorAt(path, START, problem)] }
  }
  const parsed = parseYaml(path, bytes)
  if (parsed.kind === 'invalid') return { diagnostics: parsed.diagnostics }
  const reading: Reading = { ...place, file: parsed.file, diagnostics: [], texts: new Map() }
  readNode(reading, parsed.file.value, [])
  const { locale, tenant, texts, diagnostics } = reading
  return { diagnostics, file: { locale, tenant, texts } }
}

interface LocalePlace {
  readonly locale: string
  readonly tenant: string | null
  /** What stands before its keys, `mails:`; empty where the file has no namespace. */
  readonly prefix: string
}

/** Whose texts a file has, by its path. */
function placeOf(path: string): LocalePlace | undefined {
  const parts = path.slice(LOCALES.length + 1).split('/')
  const [, namespace, tag] = NAME.exec(parts.at(-1) ?? '') ?? []
  const ofTenant = parts.length === 3 && parts[0] === 'tenants'
  if (tag === undefined || !(parts.length === 1 || ofTenant)) return undefined
  try {
    const [locale] = Intl.getCanonicalLocales(tag.replaceAll('_', '-'))
    const prefix = namespace === undefined ? '' : `${namespace}:`
    return locale === undefined
      ? undefined
      : { locale, tenant: ofTenant ? parts[1]! : null, prefix }
  } catch {
    return undefined
  }
}

interface Reading extends LocalePlace {
  readonly file: ParsedFile
  readonly diagnostics: Diagnostic[]
  readonly texts: Map<string, Translation>
}

function readNode(reading: Reading, node: unknown, pointer: Pointer): void {
  if (typeof node === 'string' && pointer.length > 0) {
    if (checkText(reading, node, pointer)) keep(reading, pointer, node)
    return
  }
  if (typeof node !== 'object' || node === null || Array.isArray(node)) {
    complain(reading, pointer, 'a translation is a text, or a map of texts')
    return
  }
  const entries = Object.entries(node)
  const isPlural = 'other' in node && entries.every(([key]) => isForm(key))
  if (!isPlural || pointer.length === 0) {
    for (const [key, value] of entries) readNode(reading, value, [...pointer, key])
    return
  }
  const forms = entries.filter(
    (entry): entry is [string, string] =>
      typeof entry[1] === 'string' && checkText(reading, entry[1], [...pointer, entry[0]]),
  )
  if (forms.length < entries.length) complain(reading, pointer, 'each plural form is a text')
  keep(reading, pointer, Object.fromEntries(forms))
}

function isForm(key: string): boolean {
  return (PLURAL_FORMS as readonly string[]).includes(key)
}

function keep({ prefix, texts }: Reading, pointer: Pointer, text: Translation): void {
  texts.set(prefix + pointer.join('.'), text)
}

/** Whether nothing but names stands in braces: a text is no template. */
function checkText(reading: Reading, text: string, pointer: Pointer): boolean {
  if (!text.replace(PLACEHOLDER, '').includes('{{')) return true
  complain(reading, pointer, 'in a translation only a name can stand in "{{" and "}}"')
  return false
}

function complain({ file, diagnostics }: Reading, pointer: Pointer, message: string): void {
  const hint = 'A text takes the values of {{t "key" name=…}} as {{name}}.'
  const problem = { code: 'invalid_translation', message, hint }
  diagnostics.push(errorAt(file.path, file.locate(pointer), problem))
}

/**
 * What is wrong with the files; else the keys that templates name and no file has. A computed key can only be
 * looked up when it is known.
 */
export function checkTexts(
  uses: readonly TextUse[],
  { diagnostics, files }: Locales,
): readonly Diagnostic[] {
  if (diagnostics.length > 0) return diagnostics
  const known = new Set(files.flatMap(({ texts }) => [...texts.keys()]))
  return uses.flatMap(({ key, place }) => {
    if (key === null || known.has(key)) return []
    const message = `no file of _locales/ has the text "${key}"`
    const hint = didYouMean(key, known).hint ?? `Add it to ${LOCALES}/en.yaml, or another language.`
    return [errorAt(place.path, place, { code: 'unknown_translation', message, hint })]
  })
}
