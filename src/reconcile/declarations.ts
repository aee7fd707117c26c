import type { Revision } from '../ids.ts'
import type { Refs } from '../git/refs.ts'
import type { Entry, RevisionTree } from '../git/source.ts'
import { errorAt } from '../workflow/diagnostic.ts'
import { checkEntry } from '../workflow/entry.ts'
import type { Diagnostic } from '../workflow/diagnostic.ts'
import type { Declaration } from '../workflow/environment.ts'
import {
  checkNames,
  checkPromotions,
  environmentNameOf,
  parseDeclaration,
} from '../workflow/environment-file.ts'
import type { Promotion } from '../workflow/environment-file.ts'
import type { ProviderShape } from '../workflow/environment-schema.ts'

/** The branch that says which environments exist, and where it is. */
export interface DefaultTip {
  readonly branch: string
  readonly tip: Revision
}

export interface DefaultChoice {
  /** `--default-branch`. */
  readonly explicit: string | null
  readonly bare: boolean
  readonly recorded: string | null
}

/**
 * Finds the default branch: the one that was named; else HEAD of a bare repository, or the one of
 * `origin`; else the recorded one; else main or master. A checkout's own HEAD is only what happens
 * to be checked out. Null where none of them has a commit.
 */
export async function findDefaultBranch(
  refs: Refs,
  { explicit, bare, recorded }: DefaultChoice,
): Promise<DefaultTip | null> {
  const candidates =
    explicit === null
      ? [bare ? refs.head : refs.originHead, recorded, 'main', 'master']
      : [explicit]
  for (const branch of candidates) {
    const tip = branch === null ? null : await refs.tip(branch)
    if (branch !== null && tip !== null) return { branch, tip }
  }
  return null
}

/** The file of an environment, or what is wrong about it: that there is none, two, or not a file. */
export function findEnvironmentFile(
  tree: RevisionTree,
  name: string,
):
  | { readonly kind: 'found'; readonly entry: Entry }
  | { readonly kind: 'absent'; readonly diagnostic: Diagnostic }
  | { readonly kind: 'invalid'; readonly diagnostic: Diagnostic } {
  const path = `environments/${name}.yaml`
  const [entry, second] = tree.environments.filter((file) => environmentNameOf(file.path) === name)
  if (!entry) return { kind: 'absent', diagnostic: problem(path, ABSENT) }
  if (second) return { kind: 'invalid', diagnostic: problem(second.path, DOUBLE) }
  const [odd] = checkEntry(entry.path, entry)
  return odd ? { kind: 'invalid', diagnostic: odd } : { kind: 'found', entry }
}

export type Declarations =
  | { readonly kind: 'declared'; readonly declarations: readonly Declaration[] }
  /** `names` are those whose file has a problem. */
  | {
      readonly kind: 'invalid'
      readonly diagnostics: readonly Diagnostic[]
      readonly names: readonly string[]
    }

/** Reads the set of declarations of the default branch. One broken file makes the whole set invalid. */
export async function readDeclarations(
  tree: RevisionTree,
  providers: readonly ProviderShape[],
): Promise<Declarations> {
  const stray = tree.strays.find(({ path }) => path === 'environments')
  if (stray) return { kind: 'invalid', diagnostics: [problem(stray.path, NO_DIRECTORY)], names: [] }
  const names = new Set(tree.environments.flatMap(({ path }) => environmentNameOf(path) ?? []))
  const files = [...names].map((name) => ({ name, file: findEnvironmentFile(tree, name) }))
  const blobs = files.flatMap(({ file }) => (file.kind === 'found' ? [file.entry.blob] : []))
  const contents = await tree.read(blobs)
  const declarations: Declaration[] = []
  const promotions: Promotion[] = []
  const broken = new Map<string, readonly Diagnostic[]>()
  const found = files.flatMap(({ name, file }) =>
    file.kind === 'found' ? [{ name, path: file.entry.path }] : [],
  )
  for (const { name, diagnostic } of checkNames(found)) broken.set(name, [diagnostic])
  for (const { name, file } of files) {
    if (file.kind !== 'found') {
      broken.set(name, [file.diagnostic])
      continue
    }
    const { path, blob } = file.entry
    const bytes = contents.get(blob) ?? new Uint8Array()
    const parsed = parseDeclaration(name, path, { bytes, providers })
    if (parsed.kind === 'invalid') {
      broken.set(name, parsed.diagnostics)
      continue
    }
    declarations.push(parsed.declaration)
    const from = parsed.declaration.policy.promotes_from
    if (from !== null) promotions.push({ name, from, path, at: parsed.at })
  }
  for (const { name, diagnostic } of checkPromotions(promotions, names)) {
    broken.set(name, [diagnostic])
  }
  if (broken.size === 0) return { kind: 'declared', declarations }
  return { kind: 'invalid', diagnostics: [...broken.values()].flat(), names: [...broken.keys()] }
}

const ABSENT = {
  code: 'environment_file_missing',
  message: 'the environment follows this branch, which has no file for it',
  hint: 'Merge the default branch into this one, or add the file here.',
}
const DOUBLE = {
  code: 'two_environment_files',
  message: 'the environment has another file with a different ending',
  hint: 'Keep one of them.',
}
const NO_DIRECTORY = {
  code: 'not_a_directory',
  message: 'this has to be a directory',
}

/** A problem of the file as a whole. */
export function problem(
  path: string,
  what: { readonly code: string; readonly message: string; readonly hint?: string },
): Diagnostic {
  return errorAt(path, { line: 1, column: 1 }, what)
}

/** What stands directly under `workflows/`, or in the place of it, and cannot be one. */
export function checkStrays(tree: RevisionTree): readonly Diagnostic[] {
  return tree.strays.flatMap((entry) => {
    const odd = checkEntry(entry.path, entry)
    if (odd.length > 0) return odd
    // A README beside the directories is nobody's business.
    return entry.path.includes('/') ? [] : [problem(entry.path, NO_DIRECTORY)]
  })
}
