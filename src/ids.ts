import { v5, v7 } from 'uuid'
import { systemClock } from './clock.ts'

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
  const random = randomBytes()
  const ms = systemClock.now().getTime()
  // Those of one millisecond go up too, and they go on doing so where the clock is set back.
  if (ms > last.msecs) last = { msecs: ms, seq: startOf(random) }
  else last = { msecs: last.msecs, seq: last.seq + 1 }
  return v7({ random, ...last })
}

/** For one id; asked for many at a time, since asking costs ten times what an id does. */
const random = new Uint8Array(16 * 256)
let used = random.length
let last = { msecs: 0, seq: 0 }

function randomBytes(): Uint8Array {
  if (used === random.length) {
    crypto.getRandomValues(random)
    used = 0
  }
  return random.subarray(used, (used += 16))
}

/** Where the count of a millisecond starts: far below the 32 bits that there is room for. */
function startOf(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(6) >>> 1
}

/** The id under which the API lists a channel: UUIDv5 of its key. */
export function channelId(key: ChannelKey): string {
  return v5(key, CHANNEL_NAMESPACE)
}
