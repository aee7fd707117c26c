import { readFileSync, readdirSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { editorSchemas } from '../workflow/editor.ts'
import type { ProviderShape } from '../workflow/environment-schema.ts'

const DIRECTORY = join(import.meta.dirname, 'init')

/**
 * The files of a new project, by path from its root: one workflow with a layout and partials, three
 * environments, and the schemas that editors check them with. It delivers without any secret.
 */
export function initFiles(providers: readonly ProviderShape[]): Readonly<Record<string, string>> {
  const files = readdirSync(DIRECTORY, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted()
    .map((file) => [relative(DIRECTORY, file).replaceAll(sep, '/'), readFileSync(file, 'utf8')])
  return { ...Object.fromEntries(files), ...editorSchemas(providers) }
}
