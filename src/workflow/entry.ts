import { errorAt, type Diagnostic } from './diagnostic.ts'
import type { Entry } from './draft.ts'

/** How many bytes the files of one workflow's directory may have together. */
export const DIRECTORY_BYTES_MAX = 10 * 1024 * 1024

/** How many workflows one environment may have. */
const WORKFLOWS_MAX = 50_000

const START = { line: 1, column: 1 }

/** What Git can hold in a directory and Belfry does not follow. */
export function checkEntry(path: string, { mode }: Pick<Entry, 'mode'>): readonly Diagnostic[] {
  if (mode === '120000') {
    return [
      errorAt(path, START, {
        code: 'symlink',
        message: 'symbolic links are not followed',
        hint: 'Put the file itself here; shared parts belong into workflows/_partials.',
      }),
    ]
  }
  if (mode === '160000') {
    return [
      errorAt(path, START, {
        code: 'submodule',
        message: 'submodules are not read',
        hint: 'Put the files themselves here.',
      }),
    ]
  }
  return []
}

/** Links, submodules and sheer size, for the entries of one directory. */
export function checkDirectory(
  directory: string,
  entries: ReadonlyMap<string, Entry>,
): readonly Diagnostic[] {
  const found = [...entries].flatMap(([path, entry]) => checkEntry(path, entry))
  const bytes = [...entries.values()].reduce((sum, entry) => sum + entry.bytes.length, 0)
  if (bytes <= DIRECTORY_BYTES_MAX) return found
  const message = `the files of this directory have ${bytes} bytes; at most ${DIRECTORY_BYTES_MAX} are read`
  return [...found, errorAt(directory, START, { code: 'directory_too_large', message })]
}

/** Whether a revision has more workflows than an environment may have. */
export function checkCount(workflows: number): readonly Diagnostic[] {
  if (workflows <= WORKFLOWS_MAX) return []
  const message = `there are ${workflows} workflows; an environment may have ${WORKFLOWS_MAX}`
  return [errorAt('workflows', START, { code: 'too_many_workflows', message })]
}
