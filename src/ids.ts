import { v5, v7 } from 'uuid'

declare const brand: unique symbol
type Branded<Name extends string> = string & { readonly [brand]: Name }

export type EnvironmentName = Branded<'EnvironmentName'>
export type WorkflowKey = Branded<'WorkflowKey'>
export type ChannelKey = Branded<'ChannelKey'>
export type StepRef = Branded<'StepRef'>
/** A commit id, or `<HEAD>+<tree hash>` for a working tree. */
export type Revision = Branded<'Revision'>
/** SHA-256 over the canonical list of (path, blob id), hex. */
export type VersionId = Branded<'VersionId'>
export type WorkflowRunId = Branded<'WorkflowRunId'>
export type RunId = Branded<'RunId'>
export type BatchId = Branded<'BatchId'>
export type MessageId = Branded<'MessageId'>
/** One running process; made anew at each start. */
export type ProcessId = Branded<'ProcessId'>

/** What keys of workflows, environments, channels and sources look like. */
export const KEY_PATTERN = '^[a-z0-9][a-z0-9_-]{1,254}$'
const KEY = new RegExp(KEY_PATTERN)
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/** Fixed by us: a channel has the same id in each environment, and on each server. */
const CHANNEL_NAMESPACE = '2f6b6e1c-7f0a-5d43-9d0c-4b6f9f6d1a10'

/** Whether a text can be a key. */
export function isKey(text: string): boolean {
  return KEY.test(text)
}

export function isUuid(text: string): boolean {
  return UUID.test(text)
}

/** A time-ordered id (UUIDv7), branded as the caller says. */
export function newId<Id extends WorkflowRunId | RunId | BatchId | MessageId | ProcessId>(): Id {
  return newRowId() as Id
}

/** A time-ordered id for rows that no other row names. */
export function newRowId(): string {
  return v7()
}

/** The id under which the API lists a channel: UUIDv5 of its key. */
export function channelId(key: ChannelKey): string {
  return v5(key, CHANNEL_NAMESPACE)
}
