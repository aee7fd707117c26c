import { isIP } from 'node:net'
import path from 'node:path'
import { ConfigError, messageOf } from './errors.ts'
import { FORGE_NAMES, forgeSettings, type ForgeSettings } from './forge-settings.ts'
import { isKey } from './ids.ts'
import { LOG_LEVELS, type LogLevel } from './log.ts'
import { isRemote, parseRemoteAddress, type RemoteAddress } from './remote-address.ts'

export const ROLES = ['reconcile', 'work', 'api'] as const
export type Role = (typeof ROLES)[number]

/** How this process is to run: every setting, checked and with its default. */
export interface Config {
  /** Path of the repository, or the address of a remote without credentials. */
  readonly repository: string
  /** Set where the repository is a remote. */
  readonly remote: RemoteAddress | undefined
  /** Undefined: what the repository itself says. */
  readonly defaultBranch: string | undefined
  readonly dev: boolean
  /** Undefined: the embedded Postgres of the data directory. */
  readonly databaseUrl: string | undefined
  readonly dataDirectory: string
  readonly port: number
  /** A port that was asked for must be free; the default one may give way to the next. */
  readonly portIsDefault: boolean
  readonly host: string
  /** Where others find this server, without a slash at its end. Undefined: nobody said, and nothing links to it. */
  readonly publicUrl: string | undefined
  readonly apiKeys: readonly ApiKeySetting[]
  readonly operatorToken: string | undefined
  /** What webhooks of Git hosts are signed with; any of them may match. Without one none is taken. */
  readonly webhookSecrets: readonly string[]
  /** Undefined: 10 s, and 30 s for a remote. */
  readonly pollSeconds: number | undefined
  readonly secrets: SecretSettings
  readonly logLevel: LogLevel
  /** How many days runs that have ended are kept, and their messages. */
  readonly retentionDays: number
  /** Path of a file of policies outside of the repository. */
  readonly policyFile: string | undefined
  /** Paths of the files that say who may sign commits. */
  readonly allowedSigners: readonly string[]
  /** Origins whose pages may call the API; `*` stands for all. */
  readonly corsOrigins: readonly string[]
  /** `on`, or the path of a file. */
  readonly rateLimits: string | undefined
  /** CIDRs that outgoing connections may reach although they are private or loopback. */
  readonly allowedTargets: readonly string[]
  /** Undefined: no forge is told anything. */
  readonly forge: ForgeSettings | undefined
  /** The first part of what this installation says on a forge. */
  readonly instance: string
  readonly roles: readonly Role[]
  /** What is not wrong but probably not meant. */
  readonly warnings: readonly string[]
}

export interface ApiKeySetting {
  readonly environment: string
  readonly key: string
}

export interface SecretSettings {
  /** The variables `BELFRY_SECRET_…` without that prefix. */
  readonly values: ReadonlyMap<string, string>
  readonly directory: string | undefined
  /** Names that every environment may read without its own prefix. */
  readonly shared: readonly string[]
}

/** What the command line says; it wins over the environment. */
export interface ConfigFlags {
  readonly repo?: string
  readonly defaultBranch?: string
  readonly policyFile?: string
  readonly dev?: boolean
}

export type Env = Readonly<Record<string, string | undefined>>

/** What this process was started with. No other file looks at it. */
export function processEnv(): Env {
  return process.env
}

const SECRET_PREFIX = 'BELFRY_SECRET_'
const DEFAULT_PORT = 4747
const KEY_LENGTH_MIN = 8
const RETENTION_DAYS = 30
const RETENTION_DAYS_MAX = 36_500
/** Those of the command line and of tests, which are not settings of a server. */
const OTHER_NAMES = new Set(['BELFRY_URL', 'BELFRY_API_KEY', 'BELFRY_TEST_DATABASE_URL'])

/**
 * Reads all settings. Throws one `ConfigError` that names every problem; the values of secrets, keys
 * and tokens are in no message.
 */
export function readConfig(env: Env, flags: ConfigFlags = {}): Config {
  const reader = new Reader(env)
  const port = reader.wholeNumber('PORT', { min: 0, max: 65_535 })
  const repository = reader.repository('BELFRY_REPO', flags.repo)
  const defaultBranch = reader.text('BELFRY_DEFAULT_BRANCH')
  const policyFile = reader.text('BELFRY_POLICY_FILE')
  const isDev = reader.flag('BELFRY_DEV')
  const dev = flags.dev ?? isDev
  const config: Config = {
    ...repository,
    defaultBranch: flags.defaultBranch ?? defaultBranch,
    dev,
    databaseUrl: reader.databaseUrl('DATABASE_URL'),
    dataDirectory: path.resolve(reader.text('BELFRY_DATA_DIR') ?? '.belfry'),
    port: port ?? DEFAULT_PORT,
    portIsDefault: port === undefined,
    host: reader.host('BELFRY_HOST', dev) ?? '127.0.0.1',
    publicUrl: reader.publicUrl('BELFRY_PUBLIC_URL'),
    apiKeys: reader.apiKeys('BELFRY_API_KEYS'),
    operatorToken: reader.token('BELFRY_OPERATOR_TOKEN'),
    webhookSecrets: reader.webhookSecrets('BELFRY_WEBHOOK_SECRETS'),
    pollSeconds: reader.wholeNumber('BELFRY_POLL_SECONDS', { min: 1, max: 86_400 }),
    secrets: {
      values: reader.secretValues(),
      directory: reader.text('BELFRY_SECRETS_DIR'),
      shared: reader.secretNames('BELFRY_SHARED_SECRETS'),
    },
    logLevel: reader.oneOf('BELFRY_LOG_LEVEL', LOG_LEVELS) ?? 'info',
    retentionDays:
      reader.wholeNumber('BELFRY_RETENTION_DAYS', { min: 1, max: RETENTION_DAYS_MAX }) ??
      RETENTION_DAYS,
    policyFile: flags.policyFile ?? policyFile,
    allowedSigners: reader.paths('BELFRY_ALLOWED_SIGNERS'),
    corsOrigins: reader.origins('BELFRY_CORS_ORIGINS'),
    rateLimits: reader.text('BELFRY_RATE_LIMITS'),
    allowedTargets: reader.cidrs('BELFRY_ALLOWED_TARGETS'),
    forge: reader.forge(repository.repository),
    instance: reader.instance('BELFRY_INSTANCE') ?? 'belfry',
    roles: reader.roles('BELFRY_ROLES'),
    warnings: reader.unknownNames(),
  }
  reader.throwProblems()
  return config
}

/** Every value of the settings that must not be shown, for masking. */
export function sensitiveValues(config: Config): string[] {
  const { apiKeys, operatorToken, webhookSecrets, secrets, databaseUrl, remote, forge } = config
  const password = databaseUrl && URL.canParse(databaseUrl) ? new URL(databaseUrl).password : ''
  return [
    ...secrets.values.values(),
    ...apiKeys.map(({ key }) => key),
    operatorToken,
    ...webhookSecrets,
    forge?.token,
    decodeURIComponent(password),
    // A token may stand in the place of the name.
    remote?.credentials?.password || remote?.credentials?.username,
  ].filter((value) => value !== undefined && value !== '') as string[]
}

/** Reads one variable at a time and remembers what was wrong with each. */
class Reader {
  readonly #env: Env
  readonly #problems: string[] = []
  readonly #known = new Set<string>()

  constructor(env: Env) {
    this.#env = env
  }

  text(name: string): string | undefined {
    this.#known.add(name)
    const value = this.#env[name]?.trim()
    return value === '' ? undefined : value
  }

  flag(name: string): boolean {
    return ['1', 'true', 'on'].includes(
      this.oneOf(name, ['1', 'true', 'on', '0', 'false', 'off']) ?? 'off',
    )
  }

  oneOf<Word extends string>(name: string, words: readonly Word[]): Word | undefined {
    const value = this.text(name)
    const word = words.find((one) => one === value)
    if (value !== undefined && word === undefined) {
      this.#problem(name, `is ${JSON.stringify(value)}, expected one of ${words.join(', ')}`)
    }
    return word
  }

  wholeNumber(name: string, { min, max }: { min: number; max: number }): number | undefined {
    const value = this.text(name)
    if (value === undefined) return undefined
    const number = Number(value)
    if (/^\d+$/.test(value) && number >= min && number <= max) return number
    this.#problem(
      name,
      `is ${JSON.stringify(value)}, expected a whole number from ${min} to ${max}`,
    )
    return undefined
  }

  databaseUrl(name: string): string | undefined {
    const value = this.text(name)
    if (value !== undefined && !/^postgres(ql)?:\/\/./.test(value)) {
      this.#problem(name, 'expected an address like postgres://user@host:5432/database')
    }
    return value
  }

  /** The development key is printed for everyone to see, so it opens no door to other machines. */
  host(name: string, dev: boolean): string | undefined {
    const value = this.text(name)
    const isLoopback = value === undefined || /^(127(\.\d+){3}|::1|localhost)$/.test(value)
    if (dev && !isLoopback) this.#problem(name, 'must be a loopback address in development')
    return value
  }

  /** It is shown to everybody, so it holds no credentials; what is wrong with it is told without its text. */
  publicUrl(name: string): string | undefined {
    const value = this.text(name)
    if (value === undefined) return undefined
    const url = URL.canParse(value) ? new URL(value) : undefined
    const isPlain = url && [url.username, url.password, url.search, url.hash].every((one) => !one)
    if (isPlain && /^https?:$/.test(url.protocol)) return url.href.replace(/\/+$/, '')
    this.#problem(
      name,
      'expected an address like https://belfry.example.com, without credentials, query and fragment',
    )
    return undefined
  }

  token(name: string): string | undefined {
    const value = this.text(name)
    if (value !== undefined && value.length < KEY_LENGTH_MIN) {
      this.#problem(name, `is shorter than ${KEY_LENGTH_MIN} characters`)
    }
    return value
  }

  /** The path of a repository, or a remote. What is wrong with one is told without its credentials. */
  repository(name: string, flag: string | undefined): Pick<Config, 'repository' | 'remote'> {
    const value = this.text(name)
    const username = this.text('BELFRY_GIT_USERNAME') ?? ''
    const password = this.text('BELFRY_GIT_PASSWORD') ?? ''
    const chosen = flag ?? value ?? '.'
    if (!isRemote(chosen)) return { repository: chosen, remote: undefined }
    try {
      const remote = parseRemoteAddress(chosen, { username, password })
      return { repository: remote.url, remote }
    } catch (error) {
      this.#problem(flag === undefined ? name : '--repo', messageOf(error))
      return { repository: '.', remote: undefined }
    }
  }

  /** `environment=key` pairs. A problem is named by the pair's place, since the pair may be all key. */
  apiKeys(name: string): ApiKeySetting[] {
    return this.#list(name).flatMap((pair, index) => {
      const [environment = '', ...rest] = pair.split('=')
      const key = rest.join('=').trim()
      const place = `entry ${index + 1}`
      if (rest.length === 0) this.#problem(name, `${place} is not environment=key`)
      else if (!isKey(environment.trim())) this.#problem(name, `${place} names no environment`)
      else if (key.length < KEY_LENGTH_MIN)
        this.#problem(name, `${place} has a key that is shorter than ${KEY_LENGTH_MIN} characters`)
      else return [{ environment: environment.trim(), key }]
      return []
    })
  }

  /** A problem is named by the entry's place, since the entry is a secret. */
  webhookSecrets(name: string): string[] {
    const words = this.#list(name)
    for (const [index, word] of words.entries()) {
      const place = `entry ${index + 1}`
      if (word.length < KEY_LENGTH_MIN)
        this.#problem(name, `${place} is shorter than ${KEY_LENGTH_MIN} characters`)
      else if (/^whsec_(?![A-Za-z0-9+/]{16,}={0,2}$)/.test(word))
        this.#problem(name, `${place} begins with whsec_ and goes on as no signing token does`)
    }
    return words
  }

  secretValues(): Map<string, string> {
    const values = new Map<string, string>()
    for (const [name, value] of Object.entries(this.#env)) {
      if (!name.startsWith(SECRET_PREFIX) || value === undefined || value === '') continue
      values.set(name.slice(SECRET_PREFIX.length), value)
    }
    return values
  }

  /** A wrong one is named by its place: it may be a secret that was written here by mistake. */
  secretNames(name: string): string[] {
    return this.#list(name).filter((word, index) => {
      const isName = /^[A-Z][A-Z0-9_]*$/.test(word) && !word.includes('__')
      if (!isName)
        this.#problem(
          name,
          `entry ${index + 1} is not the name of a shared secret, such as SMTP_PASSWORD`,
        )
      return isName
    })
  }

  paths(name: string): string[] {
    return this.#list(name).map((word) => path.resolve(word))
  }

  cidrs(name: string): string[] {
    return this.#list(name).filter((word) => {
      const isRange = isCidr(word)
      if (!isRange)
        this.#problem(
          name,
          `${JSON.stringify(word)} is not a range of addresses, such as 10.0.0.0/8`,
        )
      return isRange
    })
  }

  forge(followed: string): ForgeSettings | undefined {
    const texts = {
      name: this.oneOf('BELFRY_FORGE', FORGE_NAMES),
      url: this.text('BELFRY_FORGE_URL'),
      repository: this.text('BELFRY_FORGE_REPO'),
      token: this.text('BELFRY_FORGE_TOKEN'),
      followed,
    }
    return forgeSettings(texts, (setting, problem) => this.#problem(setting, problem))
  }

  origins(name: string): readonly string[] {
    const words = this.#list(name)
    for (const word of words) {
      if (word === '*' || isOrigin(word)) continue
      this.#problem(name, `${JSON.stringify(word)} is no origin, such as https://app.example.com`)
    }
    return words
  }

  instance(name: string): string | undefined {
    const value = this.text(name)
    if (value !== undefined && !/^[a-z0-9][a-z0-9_.-]{0,62}$/i.test(value)) {
      this.#problem(name, `${JSON.stringify(value)} is not a short name, such as belfry-eu`)
    }
    return value
  }

  roles(name: string): readonly Role[] {
    const words = this.#list(name)
    const roles = ROLES.filter((role) => words.includes(role))
    const unknown = words.filter((word) => !ROLES.some((role) => role === word))
    for (const word of unknown) {
      this.#problem(name, `${JSON.stringify(word)} is not one of ${ROLES.join(', ')}`)
    }
    return words.length === 0 ? ROLES : roles
  }

  /** A name with a typing error would otherwise have no effect and say nothing. */
  unknownNames(): string[] {
    return Object.keys(this.#env)
      .filter((name) => name.startsWith('BELFRY_') && !name.startsWith(SECRET_PREFIX))
      .filter((name) => !this.#known.has(name) && !OTHER_NAMES.has(name))
      .map((name) => `${name} is not a setting of Belfry`)
  }

  throwProblems(): void {
    if (this.#problems.length > 0) throw new ConfigError(this.#problems.join('\n'))
  }

  #list(name: string): string[] {
    const words = this.text(name)?.split(',') ?? []
    return words.map((word) => word.trim()).filter((word) => word !== '')
  }

  #problem(name: string, text: string): void {
    this.#problems.push(`${name}: ${text}`)
  }
}

/** As browsers write it: without a path, in small letters. */
function isOrigin(text: string): boolean {
  if (!/^[a-z][a-z0-9+.-]*:\/\/[^/?#@\s]+$/.test(text) || !URL.canParse(text)) return false
  return !/^https?:/.test(text) || new URL(text).origin === text
}

function isCidr(text: string): boolean {
  const [address = '', bits = '', ...rest] = text.split('/')
  if (rest.length > 0) return false
  const family = isIP(address)
  const bitsMax = family === 4 ? 32 : 128
  return (
    family !== 0 &&
    (bits === '' ? !text.includes('/') : /^\d{1,3}$/.test(bits) && Number(bits) <= bitsMax)
  )
}
