import { errorAt, sortDiagnostics, type Diagnostic } from './diagnostic.ts'
import type { Entry } from './draft.ts'
import { checkEntry } from './entry.ts'
import { ENVIRONMENTS, environmentNameOf } from './environment-file.ts'
import { WORKFLOWS } from './paths.ts'

/** What a revision holds below `workflows/` and `environments/`, by what it is. */
export interface RevisionTree<File extends Pick<Entry, 'mode'>> {
  /** Key → the files of the workflow's directory, by path from the repository's root. */
  readonly workflows: ReadonlyMap<string, ReadonlyMap<string, File>>
  /** The files of the directories whose names start with "_". */
  readonly shared: ReadonlyMap<string, File>
  /** Name → the environment's file. */
  readonly environments: ReadonlyMap<string, { readonly path: string; readonly file: File }>
  /** What cannot be told apart or is not followed; sorted. */
  readonly diagnostics: readonly Diagnostic[]
}

/**
 * Sorts the files of a revision by what they belong to. Files directly below `workflows/`, and
 * those of `environments/` that are neither YAML nor JSON, mean nothing here.
 */
export function sortFiles<File extends Pick<Entry, 'mode'>>(
  files: Iterable<readonly [path: string, file: File]>,
): RevisionTree<File> {
  const workflows = new Map<string, Map<string, File>>()
  const shared = new Map<string, File>()
  const environments = new Map<string, { readonly path: string; readonly file: File }>()
  const diagnostics: Diagnostic[] = []
  for (const [path, file] of files) {
    const [root, name = '', ...rest] = path.split('/')
    if (root === WORKFLOWS && rest.length > 0) {
      const target = name.startsWith('_')
        ? shared
        : (workflows.get(name) ?? new Map<string, File>())
      if (target !== shared) workflows.set(name, target)
      target.set(path, file)
      continue
    }
    diagnostics.push(...checkEntry(path, file))
    const environment = root === ENVIRONMENTS ? environmentNameOf(path) : undefined
    if (environment === undefined) continue
    const first = environments.get(environment)
    if (first === undefined) environments.set(environment, { path, file })
    else diagnostics.push(twice(first.path, path))
  }
  return { workflows, shared, environments, diagnostics: sortDiagnostics(diagnostics) }
}

/** At the later of the two paths, whichever came first. */
function twice(one: string, other: string): Diagnostic {
  const [first, second] = [one, other].toSorted()
  return errorAt(
    second ?? other,
    { line: 1, column: 1 },
    {
      code: 'two_environment_files',
      message: `${first} is about this environment too`,
      hint: 'Remove one of them.',
    },
  )
}
