import { TerminalFailure } from '../errors.ts'
import type { EnvironmentName } from '../ids.ts'

/** A reference to a secret, as an environment file says it. */
export interface SecretReference {
  readonly secret: string
}

/** The schema of a setting that holds either what `schema` says, or `{ secret: NAME }`. */
export function secretOr(schema: object): object {
  const { description, ...value } = schema as { readonly description?: string }
  return {
    ...(description !== undefined && { description }),
    anyOf: [
      value,
      {
        type: 'object',
        additionalProperties: false,
        required: ['secret'],
        properties: { secret: { type: 'string', pattern: '^[A-Z][A-Z0-9_]*$' } },
      },
    ],
  }
}

/** Whether a setting is `{ secret: NAME }`. */
export function isSecretReference(value: unknown): value is SecretReference {
  if (typeof value !== 'object' || value === null) return false
  return 'secret' in value && typeof value.secret === 'string' && Object.keys(value).length === 1
}

/** The names of all secrets that stand in `settings`, at any depth. */
export function secretNames(settings: unknown): readonly string[] {
  if (isSecretReference(settings)) return [settings.secret]
  if (typeof settings !== 'object' || settings === null) return []
  return Object.values(settings).flatMap(secretNames)
}

/** `settings` with each reference replaced by what `read` gives for its name. */
export function withSecrets(settings: unknown, read: (name: string) => string): unknown {
  if (isSecretReference(settings)) return read(settings.secret)
  if (Array.isArray(settings)) return settings.map((item) => withSecrets(item, read))
  if (typeof settings !== 'object' || settings === null) return settings
  return Object.fromEntries(
    Object.entries(settings).map(([key, value]) => [key, withSecrets(value, read)]),
  )
}

/** Looks up a secret of an environment; undefined where it is not set. */
export type FindSecret = (environment: EnvironmentName, name: string) => string | undefined

/** A secret that cannot be done without. Throws a `TerminalFailure` where it is not set. */
export function requireSecret(
  find: FindSecret,
  environment: EnvironmentName,
  name: string,
): string {
  const value = find(environment, name)
  if (value !== undefined) return value
  throw new TerminalFailure(`the secret ${name} of ${environment} is not set`)
}
