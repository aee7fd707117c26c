import type { Config } from '../config.ts'
import type { ForgeSettings } from '../forge-settings.ts'
import type { Output } from './output.ts'

/** An option of a command, as `--name` or its one letter. */
export interface Option {
  readonly type: 'string' | 'boolean'
  readonly short?: string
  /** May be given more than once. */
  readonly multiple?: boolean
  /** What stands for the value in the help. */
  readonly value?: string
  readonly help: string
}

/** Nothing wrong. */
export const FINE = 0
/** The command did its work and found something wrong, or the server refused what was asked. */
export const FOUND = 1
/** The command could not do its work. */
export const COULD_NOT_RUN = 2

export type ExitCode = typeof FINE | typeof FOUND | typeof COULD_NOT_RUN

/** One command: its words, and what it does. Whatever is heavy is imported inside `run`. */
export interface Command {
  readonly name: string
  readonly summary: string
  /** What follows the command's name, one form a line. */
  readonly usage: readonly string[]
  readonly options: Readonly<Record<string, Option>>
  /** Forms of the result beside `json` and `text`. */
  readonly outputs?: readonly string[]
  /** How many words without a dash it takes. */
  readonly words: { readonly min: number; readonly max: number }
  run(context: CommandContext): Promise<ExitCode>
}

/** Where the server is, and what to show it; from the surroundings of the process. */
export interface ClientSettings {
  readonly url: string | undefined
  readonly apiKey: string | undefined
  readonly operatorToken: string | undefined
  readonly dataDir: string
}

export interface CommandContext {
  readonly words: readonly string[]
  readonly options: OptionValues
  readonly output: Output
  readonly settings: ClientSettings
  readonly host: Host
}

/** What only the whole program can do for a command: run it, or open its database. */
export interface Host {
  /** How this program is called, for commands that are printed to be copied. */
  readonly program: string
  start(options: OptionValues): Promise<Running>
  openKeys(): Promise<KeyRing>
  /** The settings that a server would start with here. Throws a `ConfigError` that names all that is wrong. */
  readonly readSettings: (options: OptionValues) => Config
  /** The forge that is set; undefined where none is. Throws a `ConfigError` for what is wrong with the settings. */
  forge(): ForgeSettings | undefined
}

/** The program while it serves. */
export interface Running {
  readonly url: string | undefined
  readonly key: string | undefined
  readonly publicKey: string | undefined
  readonly operatorToken: string | undefined
  readonly firstLook: Promise<void>
  listWorkflows(environment: string): Promise<readonly string[]>
  close(): Promise<void>
}

/** The keys of the installation. */
export interface KeyRing extends AsyncDisposable {
  create(key: {
    environment: string
    name: string
    scopes: readonly string[]
    isPublic: boolean
  }): Promise<{
    readonly id: string
    readonly key: string
    /** Whether the environment of the key exists. */
    readonly isKnown: boolean
  }>
  list(environment: string | undefined): Promise<readonly ListedKey[]>
  /** False where no such key is in use. */
  revoke(id: string): Promise<boolean>
}

export interface ListedKey {
  readonly environment: string
  readonly id: string
  readonly kind: string
  readonly name: string
  readonly scopes: readonly string[]
  readonly source: string
  readonly created_at: Date
  readonly revoked_at: Date | null
}

/** Reads the options of a call by name; one that was not given is undefined, false or empty. */
export interface OptionValues {
  text(name: string): string | undefined
  flag(name: string): boolean
  list(name: string): readonly string[]
}
