import type { Transaction } from '../db/database.ts'
import type { Queue } from '../db/queue.ts'
import { insertMessages } from '../messages/store.ts'
import { loadChunk } from './chunk.ts'
import type { QueuedRun } from './run.ts'
import { secretPlaceholders } from './scope.ts'
import { saveRuns } from './store.ts'
import { walk } from './walk.ts'

/**
 * Takes locked, queued runs of one environment as far as they go, and writes all of it in the caller's
 * transaction: messages, timeline, runs and the jobs that hand the messages over. The number of
 * statements does not depend on the number of runs.
 */
export async function executeRuns(
  deps: { readonly queue: Queue },
  tx: Transaction,
  runs: readonly QueuedRun[],
  now: Date,
): Promise<void> {
  const environment = runs[0]?.environment
  if (environment === undefined) return
  const chunk = await loadChunk(tx, environment, runs, now)
  const secrets = secretPlaceholders(chunk.live.settings)
  const walks = runs.map((run) => walk(chunk, run, secrets))
  const messages = walks.flatMap((each) => each.messages)
  const jobs = await insertMessages(tx, messages, now)
  await saveRuns(
    tx,
    environment,
    walks.map((each) => each.result),
    now,
  )
  await deps.queue.enqueue(tx, 'deliver', jobs)
}
