import type { ChannelKey, StepRef, VersionId, WorkflowKey } from '../ids.ts'
import type { Conditions } from '../language/conditions.ts'
import type { ChannelType } from '../steps/step.ts'
import type { Step } from '../steps/index.ts'
import type { EventTrigger } from './triggers.ts'

/** A workflow file, parsed and checked. What a file leaves out is absent here too. */
export interface Workflow {
  readonly name: string
  readonly description?: string
  readonly categories?: readonly string[]
  readonly tags?: readonly string[]
  /** True: not sent to those who do not want commercial messages. */
  readonly commercial?: boolean
  /** True: sent whatever the preferences say. */
  readonly override_preferences?: boolean
  readonly trigger?: Trigger
  /** False: the run halts before its first step. */
  readonly conditions?: Conditions
  readonly steps: readonly Step[]
}

export interface Trigger {
  /** JSON Schema 2020-12 of `data`; a file is read into its place when the version is made. */
  readonly data_schema?: object
  /** Absent: every trigger. */
  readonly frequency?: TriggerFrequency
  /** Events of sources that start it. */
  readonly events?: readonly EventTrigger[]
  /** Keys of audiences: it runs for whoever joins one. */
  readonly audiences?: readonly string[]
}

/** How often a workflow runs for the same recipient. */
export const TRIGGER_FREQUENCIES = [
  'every_trigger',
  'once_per_recipient',
  'once_per_recipient_per_tenant',
] as const
export type TriggerFrequency = (typeof TRIGGER_FREQUENCIES)[number]

/** A step's demand on the environment: a channel by key, or the only one of its type. */
export interface ChannelUse {
  readonly ref: StepRef
  readonly type: ChannelType
  readonly channel: ChannelKey | null
  /** Where the step (or its `channel`) stands, for diagnostics that depend on the environment. */
  readonly path: string
  readonly line: number
  readonly column: number
}

/**
 * Where a step uses `vars.<name>`: which kind of place, for the checks on secret variables; or where an event of a source
 * is named.
 */
export interface VariableUse {
  readonly name: string
  /** Of a source: what becomes of its events. Absent for a variable. */
  readonly source?: 'starts' | 'awaited'
  /** Whether a secret variable may stand here. */
  readonly secrets: boolean
  /** Whether the step fails without it; else it renders empty. */
  readonly required?: boolean
  readonly path: string
  readonly line: number
  readonly column: number
}

/** What a workflow asks of the environment that it runs in. */
export interface EnvironmentUses {
  readonly channelUses: readonly ChannelUse[]
  readonly variableUses: readonly VariableUse[]
}

/** All that a run of this workflow needs, immutable and named by its content. */
export interface Version extends EnvironmentUses {
  /** SHA-256 of the canonical list of (path, blob id), hex. */
  readonly id: VersionId
  readonly key: WorkflowKey
  readonly workflow: Workflow
  /** Every template file, locale and sample of the version, by path from the repository's root. */
  readonly files: Readonly<Record<string, string>>
  /** The canonical list: path → blob id, sorted by path; the workflow's own files and the shared ones it uses. */
  readonly blobs: Readonly<Record<string, string>>
}

/** What conditions and templates can name of a workflow. */
export function workflowScope(key: string, workflow: Workflow): Readonly<Record<string, unknown>> {
  const { name, categories = [], commercial, override_preferences: overrides } = workflow
  return {
    id: key,
    key,
    name,
    categories,
    commercial: commercial === true,
    override_preferences: overrides === true,
  }
}
