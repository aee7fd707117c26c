import { isJsonObject } from '../json.ts'
import type { EnvironmentName, WorkflowKey } from '../ids.ts'
import type { Source } from '../workflow/sources.ts'

export type SourceEventKind =
  | 'track'
  | 'identify'
  | 'group'
  | 'alias'
  | 'page'
  | 'screen'
  | 'webhook'
  /** What cannot be read. */
  | 'unknown'

export type Json = Readonly<Record<string, unknown>>

/** Something that a source has sent, read. */
export interface SourceEvent {
  readonly kind: SourceEventKind
  /** The name of the event; null for what has none, such as an `identify`. */
  readonly event: string | null
  readonly userId: string | null
  /** By which it is known again; null: never. */
  readonly messageId: string | null
  /** By the sender's clock, set right. */
  readonly happenedAt: Date | null
  /** As it was sent; null where it cannot be stored. */
  readonly body: Json | null
  /** Why nothing can be done with it. */
  readonly problem?: string
}

/** What came of an event, as it is stored and shown. */
export type EventResult =
  | { readonly workflow: WorkflowKey; readonly workflow_run_id: string }
  | {
      readonly workflow?: WorkflowKey
      readonly error: { readonly code: string; readonly message: string }
    }

/** `ignored`: nothing names it, and nothing was to be done. */
export type EventStatus = 'done' | 'ignored' | 'failed'

/** A source that has proved itself. */
export interface ProvenSource {
  readonly environment: EnvironmentName
  readonly key: string
  readonly source: Source
}

/** The value as an object; an empty one for everything else. */
export function objectOf(value: unknown): Json {
  return isJsonObject(value) ? value : {}
}
