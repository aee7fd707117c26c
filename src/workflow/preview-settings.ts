import type { EnvironmentName } from '../ids.ts'
import type { Entry } from './draft.ts'
import { parseEnvironment } from './environment-file.ts'
import type { EnvironmentSettings } from './environment.ts'
import type { ProviderShape } from './environment-schema.ts'

/** The environment in which templates are written. */
const WRITTEN_IN = 'development'

/**
 * The settings that previews of files are rendered with: those of the environment of that name, else of
 * `development`, else of the first that can be read; else those of an environment about which nothing is said.
 */
export function previewSettings(
  environments: ReadonlyMap<string, { readonly path: string; readonly file: Entry }>,
  providers: readonly ProviderShape[],
  name?: string,
): EnvironmentSettings {
  const context = { providers, hasSecret: () => true }
  const names = name === undefined ? [WRITTEN_IN, ...environments.keys()] : [name]
  for (const one of names) {
    const found = environments.get(one)
    if (found === undefined) continue
    const { path, file } = found
    const parsed = parseEnvironment(one as EnvironmentName, path, { bytes: file.bytes, context })
    if (parsed.kind === 'settings') return parsed.settings
  }
  return { timezone: 'UTC', locale: 'en', variables: {}, channels: {} }
}
