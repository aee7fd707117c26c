import type { Duration } from '../language/durations.ts'
import type { ChannelKey, EnvironmentName, WorkflowKey } from '../ids.ts'
import type { Conditions } from '../language/conditions.ts'
import type { PreferenceSet } from '../language/preferences.ts'
import type { ChannelType } from '../steps/step.ts'
import type { Source } from './sources.ts'

/** Characters of a branch's name; Git keeps it as the name of a file, to which it adds `.lock`. */
export const BRANCH_LENGTH_MAX = 250

/** What the default branch says about an environment: which exist, and what guards them. */
export interface Declaration {
  readonly name: EnvironmentName
  /** The branch it follows. */
  readonly ref: string
  readonly policy: Policy
}

/** What guards an environment. A branch does not loosen the policy that guards it. */
export interface Policy {
  /** Of the live workflows, at most this many in a hundred are archived by a revision unasked. */
  readonly prune_max_percent: number
  /** What becomes of a revision that does not descend from the one before it. */
  readonly history: 'apply' | 'confirm' | 'refuse'
  /** What becomes of a revision with a new commit that no allowed key has signed. */
  readonly signatures: Strictness
  /** What becomes of a revision with content that was never applied in `promotes_from`. */
  readonly promotion: Strictness
  /** How long content has to be live in `promotes_from` before; absent: it may come at once. */
  readonly soak?: Duration
  /** The environment from which content comes; null where it may come from anywhere. */
  readonly promotes_from: EnvironmentName | null
}

export type Strictness = 'off' | 'warn' | 'enforce'

/** What holds where a declaration says nothing. */
export const DEFAULT_POLICY: Policy = {
  prune_max_percent: 20,
  history: 'apply',
  signatures: 'off',
  promotion: 'warn',
  promotes_from: null,
}

/** What the tip of an environment's own ref says about it. Replaced whole by each applied revision. */
export interface EnvironmentSettings {
  /** IANA name. */
  readonly timezone: string
  readonly locale: string
  readonly variables: Readonly<Record<string, Variable>>
  readonly channels: Readonly<Record<ChannelKey, Channel>>
  /** Whence events come, by key. Absent where the file has none. */
  readonly sources?: Readonly<Record<string, Source>>
  /** What holds for all who say nothing else; channels by their ids. Absent where the file has none. */
  readonly preferences?: PreferenceSet
  /** By name; without any nobody can sign for a user. */
  readonly client_keys?: Readonly<Record<string, ClientKey>>
  /** By name; absent where the file has none. */
  readonly schedules?: Readonly<Record<string, DeclaredSchedule>>
}

/** A public RSA key of the application: it checks the tokens that the private one signs. */
export interface ClientKey {
  /** SPKI. */
  readonly pem: string
  /** The path of the file that it stands in, where it has one of its own. */
  readonly file?: string
}

/** When a workflow starts without being triggered. */
export interface DeclaredSchedule {
  readonly workflow: WorkflowKey
  readonly recipients: readonly Reference[]
  readonly actor: Reference | null
  readonly tenant: string | null
  readonly data: Readonly<Record<string, unknown>>
  /** As the file says; none for what happens once. */
  readonly repeats: readonly Readonly<Record<string, unknown>>[]
  /** ISO 8601, as is `ending_at`. */
  readonly scheduled_at: string | null
  readonly ending_at: string | null
  readonly paused: boolean
  /** Where the file names the workflow. */
  readonly at: { readonly path: string; readonly line: number; readonly column: number }
}

interface Reference {
  readonly collection: string
  readonly id: string
}

export type Variable =
  | { readonly value: unknown; readonly public: boolean }
  /** Read at use from the surroundings of the process, by this name. */
  | { readonly secret: string }

export interface Channel {
  readonly key: ChannelKey
  readonly type: ChannelType
  readonly provider: string
  readonly name?: string
  /** Messages are made and rendered, and not handed over. */
  readonly sandbox: boolean
  readonly conditions?: Conditions
  /** A hand-over of unknown outcome: try again with the same key, or leave it to a person. */
  readonly on_ambiguous: 'retry' | 'hold'
  /** Whether an address that is gone, or whose owner complained, gets nothing more; it does not unless told. */
  readonly suppress_bounced?: boolean
  /** As the file says; a `{ secret: NAME }` stays a reference. */
  readonly settings: Readonly<Record<string, unknown>>
}
