import { isSecretReference } from '../channels/secret.ts'
import { isKey, type EnvironmentName } from '../ids.ts'
import { checkConditions, conditionVariables } from '../language/conditions.ts'
import { isTimeZone } from '../language/durations.ts'
import { didYouMean } from '../language/text.ts'
import {
  errorAt,
  sortDiagnostics,
  type Diagnostic,
  type Position,
  type Problem,
} from './diagnostic.ts'
import { DEFAULT_POLICY } from './environment.ts'
import type { Declaration, EnvironmentSettings, Policy } from './environment.ts'
import {
  checkDefaultPreferences,
  listPreferenceUses,
  type PreferenceUse,
} from './environment-preferences.ts'
import { readClientKeys, type FindFile } from './client-keys.ts'
import { settingsOf, type ChannelEntry, type EnvironmentFile } from './environment-settings.ts'
import { checkSchedules } from './declared-schedules.ts'
import { explainViolations } from './explain.ts'
import { parseYaml, type ParsedFile, type Pointer } from './parse.ts'
import { soundEnvironment } from './salvage.ts'
import type { ProviderShape } from './environment-schema.ts'
import { validateEnvironment, validatePolicies } from './schema.ts'

/** Where the environments stand in a repository. */
export const ENVIRONMENTS = 'environments'

export type EnvironmentResult =
  | {
      readonly kind: 'settings'
      readonly settings: EnvironmentSettings
      /** What its preferences name. */
      readonly uses: readonly PreferenceUse[]
    }
  | { readonly kind: 'invalid'; readonly diagnostics: readonly Diagnostic[] }

export type DeclarationResult =
  | {
      readonly kind: 'declaration'
      readonly declaration: Declaration
      /** Where the file says what it promotes from. */
      readonly at: Position
    }
  | { readonly kind: 'invalid'; readonly diagnostics: readonly Diagnostic[] }

export interface EnvironmentContext {
  readonly providers: readonly ProviderShape[]
  /** Whether the process has the secret of this name for the environment. */
  hasSecret(name: string): boolean
  /** What else stands in the repository; without it no file is found. */
  readonly findFile?: FindFile
}

/**
 * The name of the environment that a file of `environments/` is about; undefined for a file that is
 * none, such as a README, and for what lies in a directory of its own.
 */
export function environmentNameOf(path: string): string | undefined {
  return new RegExp(`^${ENVIRONMENTS}/([^/]+)\\.(?:yaml|json)$`).exec(path)?.[1]
}

/** Refuses names that differ only in `-` and `_`: each environment would read the other's secrets. */
export function checkNames(files: readonly { readonly name: string; readonly path: string }[]) {
  const groups = Map.groupBy(files, ({ name }) => variablePrefix(name))
  return [...groups.values()].flatMap((group): readonly NamedDiagnostic[] => {
    if (group.length < 2) return []
    const names = group.map(({ name }) => `"${name}"`).join(' and ')
    const message = `${names} would read the same variables for their secrets`
    const hint = 'Use names that differ in more than "-" and "_".'
    return group.map(({ name, path }) => ({
      name,
      diagnostic: errorAt(path, { line: 1, column: 1 }, { code: 'same_secrets', message, hint }),
    }))
  })
}

interface NamedDiagnostic {
  readonly name: string
  readonly diagnostic: Diagnostic
}

/** Where one environment says from which other one its content comes. */
export interface Promotion {
  readonly name: string
  readonly from: string
  readonly path: string
  readonly at: Position
}

/** Refuses to promote from an environment that is not there, and in a circle. */
export function checkPromotions(
  promotions: readonly Promotion[],
  names: Iterable<string>,
): readonly NamedDiagnostic[] {
  const known = new Set(names)
  const sources = new Map(promotions.map(({ name, from }) => [name, from]))
  return promotions.flatMap(({ name, from, path, at }) => {
    const problem = known.has(from)
      ? circle(name, sources)
      : {
          code: 'unknown_environment',
          message: `there is no environment "${from}"`,
          ...didYouMean(from, known),
        }
    return problem === undefined ? [] : [{ name, diagnostic: errorAt(path, at, problem) }]
  })
}

function circle(name: string, sources: ReadonlyMap<string, string>): Problem | undefined {
  const way = [name]
  for (let next = sources.get(name); next !== undefined; next = sources.get(next)) {
    if (next === name) {
      const message = `the environments promote in a circle: ${[...way, name].join(' from ')}`
      return { code: 'circular_promotion', message }
    }
    // A circle that this one only leads to is told of where it is.
    if (way.includes(next)) return undefined
    way.push(next)
  }
  return undefined
}

export type PoliciesResult =
  | { readonly kind: 'policies'; readonly policies: Readonly<Record<string, Partial<Policy>>> }
  | { readonly kind: 'invalid'; readonly diagnostics: readonly Diagnostic[] }

/** Reads a file of policies, by the names of environments, that is kept outside of the repository. */
export function parsePolicies(path: string, bytes: Uint8Array): PoliciesResult {
  const parsed = parseYaml(path, bytes)
  if (parsed.kind === 'invalid') return parsed
  const { file } = parsed
  const violations = validatePolicies(file.value)
  if (violations.length > 0) {
    return { kind: 'invalid', diagnostics: explainViolations(file, violations) }
  }
  const policies = file.value as Readonly<Record<string, Partial<Policy>>>
  const promotions = Object.entries(policies).flatMap(([name, { promotes_from: from }]) =>
    from ? [{ name, from, path, at: file.locate([name, 'promotes_from']) }] : [],
  )
  // Which environments exist is not said here.
  const known = [...Object.keys(policies), ...promotions.map(({ from }) => from)]
  const diagnostics = checkPromotions(promotions, known).map(({ diagnostic }) => diagnostic)
  return diagnostics.length > 0 ? { kind: 'invalid', diagnostics } : { kind: 'policies', policies }
}

/** Reads the file of the environment `name`; see docs/spec/environment.md. */
export function parseEnvironment(
  name: EnvironmentName,
  path: string,
  { bytes, context }: { readonly bytes: Uint8Array; readonly context: EnvironmentContext },
): EnvironmentResult {
  const parsed = readFile(name, path, { bytes, providers: context.providers })
  if (parsed.kind === 'invalid') return parsed
  const { file, value, problems } = parsed
  const { findFile = () => undefined } = context
  const clientKeys = readClientKeys(file, value.client_keys ?? {}, findFile)
  const diagnostics = [
    ...problems,
    ...clientKeys.diagnostics,
    ...checkPlace(file, value),
    ...checkChannels(file, value),
    ...checkDefaultPreferences(file, value.preferences, {
      channels: Object.keys(value.channels ?? {}),
      isSecret: (variable) => value.variables?.[variable]?.secret !== undefined,
    }),
    ...checkSchedules(file, value.schedules),
  ]
  for (const { secret, pointer } of secretsOf(value)) {
    if (context.hasSecret(secret)) continue
    const hint = `Set ${variableName(name, secret)}, or the file ${name}/${secret} in BELFRY_SECRETS_DIR.`
    const message = `the secret "${secret}" is not there for "${name}"`
    diagnostics.push(errorAt(path, file.locate(pointer), { code: 'missing_secret', message, hint }))
  }
  if (diagnostics.length > 0) return { kind: 'invalid', diagnostics: sortDiagnostics(diagnostics) }
  const uses = listPreferenceUses(file, value.preferences)
  return { kind: 'settings', settings: settingsOf(file, value, clientKeys.keys), uses }
}

/**
 * Reads what the default branch's file says of the environment `name`: that it exists, which
 * branch it follows, and under which policy. The rest is read from that branch, and only its shape counts here.
 */
export function parseDeclaration(
  name: string,
  path: string,
  {
    bytes,
    providers,
  }: { readonly bytes: Uint8Array; readonly providers: readonly ProviderShape[] },
): DeclarationResult {
  const parsed = readFile(name, path, { bytes, providers })
  if (parsed.kind === 'invalid') return parsed
  if (parsed.problems.length > 0) return { kind: 'invalid', diagnostics: parsed.problems }
  const { ref = name, policy, promotes_from = null } = parsed.value
  const declaration = {
    name: name as EnvironmentName,
    ref,
    policy: { ...DEFAULT_POLICY, ...policy, promotes_from },
  }
  return { kind: 'declaration', declaration, at: parsed.file.locate(['promotes_from']) }
}

type FileResult =
  | {
      readonly kind: 'file'
      readonly file: ParsedFile
      /** Without what breaks the schema. */
      readonly value: EnvironmentFile
      /** What is wrong with its shape. */
      readonly problems: readonly Diagnostic[]
    }
  | { readonly kind: 'invalid'; readonly diagnostics: readonly Diagnostic[] }

function readFile(
  name: string,
  path: string,
  {
    bytes,
    providers,
  }: { readonly bytes: Uint8Array; readonly providers: readonly ProviderShape[] },
): FileResult {
  if (!isKey(name)) {
    const problem = {
      code: 'invalid_key',
      message: `"${name}" cannot be the name of an environment`,
      hint: 'Use 2 to 255 of a-z, 0-9, "_" and "-", starting with a letter or digit.',
    }
    return { kind: 'invalid', diagnostics: [errorAt(path, { line: 1, column: 1 }, problem)] }
  }
  const parsed = parseYaml(path, bytes)
  const known = parsed.kind === 'invalid' ? parsed.diagnostics : []
  const { file } = parsed
  if (file === undefined) return { kind: 'invalid', diagnostics: known }
  const violations = validateEnvironment(providers, file.value)
  const problems = explainViolations(file, violations, known)
  const value = soundEnvironment(file.value, violations) as EnvironmentFile | undefined
  if (value === undefined) return { kind: 'invalid', diagnostics: problems }
  const fullRef = checkRef(file, value)
  return { kind: 'file', file, value, problems: fullRef ? [...problems, fullRef] : problems }
}

/** A branch goes by its short name, and one of this name would hardly ever come. */
function checkRef(file: ParsedFile, { ref }: EnvironmentFile): Diagnostic | undefined {
  if (ref === undefined || !ref.startsWith('refs/')) return undefined
  const branch = /^refs\/(?:heads|remotes\/[^/]+)\/(.+)$/.exec(ref)?.[1]
  const hint = branch === undefined ? 'Only branches are followed.' : `Write "${branch}".`
  const message = `"${ref}" is the full name of a ref, and not that of a branch`
  return errorAt(file.path, file.locate(['ref']), { code: 'invalid_value', message, hint })
}

function checkPlace(file: ParsedFile, { timezone, locale }: EnvironmentFile): Diagnostic[] {
  const found: Diagnostic[] = []
  if (timezone !== undefined && !isTimeZone(timezone)) {
    const zones = Intl.supportedValuesOf('timeZone')
    const hint = didYouMean(timezone, zones).hint ?? 'Use an IANA name such as "Europe/Berlin".'
    const problem = { code: 'unknown_timezone', message: `unknown time zone "${timezone}"`, hint }
    found.push(errorAt(file.path, file.locate(['timezone']), problem))
  }
  if (locale !== undefined && !isLocale(locale)) {
    const problem = {
      code: 'invalid_locale',
      message: `"${locale}" is no language tag`,
      hint: 'Use one such as "en" or "de-AT".',
    }
    found.push(errorAt(file.path, file.locate(['locale']), problem))
  }
  return found
}

function checkChannels(file: ParsedFile, { channels, variables }: EnvironmentFile): Diagnostic[] {
  return Object.entries<ChannelEntry>(channels ?? {}).flatMap(([key, { conditions }]) => {
    if (conditions === undefined) return []
    const at = (path: Pointer): Position => file.locate(['channels', key, 'conditions', ...path])
    const problems = checkConditions(conditions).map(({ path, ...problem }) =>
      errorAt(file.path, at(path), problem),
    )
    const secrets = conditionVariables(conditions).flatMap(({ variable, path }) => {
      const name = /^vars\.([^.]+)/.exec(variable)?.[1]
      const isSecret = name !== undefined && variables?.[name]?.secret !== undefined
      return isSecret ? [errorAt(file.path, at(path), secretInCondition(name))] : []
    })
    return [...problems, ...secrets]
  })
}

function secretInCondition(name: string): Problem {
  return {
    code: 'secret_in_template',
    message: `the variable "${name}" is a secret and cannot stand in a condition`,
  }
}

/** Every `{ secret: NAME }` of the file, with the place of the name. */
function secretsOf({ variables, channels, sources }: EnvironmentFile) {
  const found: { readonly secret: string; readonly pointer: Pointer }[] = []
  const visit = (value: unknown, pointer: Pointer): void => {
    if (isSecretReference(value)) {
      found.push({ secret: value.secret, pointer: [...pointer, 'secret'] })
    } else if (typeof value === 'object' && value !== null) {
      for (const [key, item] of Object.entries(value)) visit(item, [...pointer, key])
    }
  }
  for (const [name, variable] of Object.entries(variables ?? {})) {
    if (variable.secret === undefined) continue
    found.push({ secret: variable.secret, pointer: ['variables', name, 'secret'] })
  }
  for (const [key, { settings }] of Object.entries<ChannelEntry>(channels ?? {})) {
    visit(settings, ['channels', key, 'settings'])
  }
  visit(sources, ['sources'])
  return found
}

function variableName(environment: EnvironmentName, secret: string): string {
  return `BELFRY_SECRET_${variablePrefix(environment)}__${secret}`
}

function variablePrefix(name: string): string {
  return name.toUpperCase().replaceAll('-', '_')
}

function isLocale(tag: string): boolean {
  try {
    return Intl.getCanonicalLocales(tag).length === 1
  } catch {
    return false
  }
}
