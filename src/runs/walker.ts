import type { NewMessage } from '../messages/store.ts'
import type { RecipientPatch } from '../recipients/store.ts'
import type { BatchContents } from './batch-contents.ts'
import type { Chunk } from './chunk.ts'
import type { FetchChange } from './fetched.ts'
import type { QueuedRun, WorkflowRun } from './run.ts'
import type { Refs, SecretPlaceholders } from './scope.ts'
import type { Scope } from '../steps/step.ts'
import type { Wait } from './wait-store.ts'
import type { TimelineWriter } from './timeline.ts'
import type { LoadedVersion } from './versions.ts'

/** One run on its way, with all that its steps may look at. */
export interface Walker {
  /** With what the run itself has changed, as it sees it. */
  chunk: Chunk
  run: QueuedRun
  shared: WorkflowRun
  version: LoadedVersion
  readonly secrets: SecretPlaceholders
  readonly timeline: TimelineWriter
  readonly messages: NewMessage[]
  /** Also of the messages made on this way. */
  refs: Refs
  /** What the batch held that the run went on from. */
  batch: BatchContents | null
  /** The request that it is to make, where it has come to a fetch step. */
  asked: (FetchChange & { readonly kind: 'ask' }) | null
  /** Of a run that goes on from a wait for an event: whether that has come. */
  matched: boolean
  /** What ended its latest wait. */
  event: Scope['event']
  /** The waits that it has opened, looked at or ended. */
  readonly waits: Wait[]
  /** What it has changed of recipients, in order. */
  readonly updates: RecipientPatch[]
}
