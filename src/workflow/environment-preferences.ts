import { channelId, isUuid, type ChannelKey } from '../ids.ts'
import { conditionVariables } from '../language/conditions.ts'
import { checkPreferences, listChannelNames, listLists } from '../language/preference-schema.ts'
import type { PreferenceSet } from '../language/preferences.ts'
import { didYouMean } from '../language/text.ts'
import { errorAt, warningAt, type Diagnostic, type Problem } from './diagnostic.ts'
import type { ParsedFile, Pointer } from './parse.ts'

interface Surroundings {
  readonly channels: Iterable<string>
  /** Whether a variable is a secret. */
  readonly isSecret: (variable: string) => boolean
}

/** What is wrong with the default preferences of an environment beyond their shape. */
export function checkDefaultPreferences(
  file: ParsedFile,
  preferences: PreferenceSet | undefined,
  { channels, isSecret }: Surroundings,
): readonly Diagnostic[] {
  if (preferences === undefined) return []
  const at = (path: Pointer, problem: Problem) =>
    errorAt(file.path, file.locate(['preferences', ...path]), problem)
  const keys = [...channels]
  const known = new Set([...keys, ...keys.map((key) => channelId(key as ChannelKey))])
  const unknown = listChannelNames(preferences, []).filter(({ name }) => {
    return !known.has(isUuid(name) ? name.toLowerCase() : name)
  })
  const secrets = listLists(preferences, []).flatMap(({ list, path }) =>
    conditionVariables({ all: list }).flatMap((use) => {
      const name = /^vars\.([^.]+)/.exec(use.variable)?.[1]
      return name !== undefined && isSecret(name)
        ? [{ name, path: [...path, ...use.path.slice(1)] }]
        : []
    }),
  )
  return [
    ...checkPreferences(preferences).map(({ path, ...problem }) => at(path, problem)),
    ...unknown.map(({ name, path }) =>
      at(path, {
        code: 'unknown_channel',
        message: `the environment has no channel "${name}"`,
        hint: didYouMean(name, keys).hint,
      }),
    ),
    ...secrets.map(({ name, path }) =>
      at(path, {
        code: 'secret_in_template',
        message: `the variable "${name}" is a secret and cannot stand in a condition`,
      }),
    ),
  ]
}

/** A workflow or a category that default preferences name, and where. */
export interface PreferenceUse {
  readonly kind: 'workflow' | 'category'
  readonly name: string
  readonly path: string
  readonly line: number
  readonly column: number
}

/** Every workflow and category that default preferences name. */
export function listPreferenceUses(
  file: ParsedFile,
  preferences: PreferenceSet | undefined,
): readonly PreferenceUse[] {
  const named = (kind: PreferenceUse['kind'], field: 'workflows' | 'categories') =>
    Object.keys(preferences?.[field] ?? {}).map((name) => ({
      kind,
      name,
      path: file.path,
      ...file.locate(['preferences', field, name]),
    }))
  return [...named('workflow', 'workflows'), ...named('category', 'categories')]
}

/** Warns of preferences for what no workflow is or has, as a word that was mistyped. */
export function checkPreferenceUses(
  uses: readonly PreferenceUse[],
  workflows: readonly { readonly key: string; readonly categories: readonly string[] }[],
): readonly Diagnostic[] {
  const known = {
    workflow: new Set(workflows.map(({ key }) => key)),
    category: new Set(workflows.flatMap(({ categories }) => categories)),
  }
  return uses
    .filter(({ kind, name }) => !known[kind].has(name))
    .map((use) => {
      const { kind, name, path } = use
      const hint = didYouMean(name, known[kind]).hint
      if (kind === 'workflow') {
        const message = `there is no workflow "${name}"`
        return warningAt(path, use, { code: 'unknown_workflow', message, hint })
      }
      const message = `no workflow has the category "${name}"`
      return warningAt(path, use, { code: 'unknown_category', message, hint })
    })
}
