import type { Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import type { EnvironmentName, RunId } from '../ids.ts'
import { FEED_STATUSES } from './feed-store.ts'

/**
 * Deletes the messages of these runs with their delivery logs. What is in somebody's feed stays there: it is
 * that person's, and not a record of ours. None of them is to be handed over any more.
 */
export async function deleteMessages(
  tx: Transaction,
  environment: EnvironmentName,
  runIds: readonly RunId[],
): Promise<void> {
  if (runIds.length === 0) return
  await tx.query(sql`
    with gone as (
      delete from messages
      where environment = ${environment}
        and run_id = any(${runIds}::uuid[])
        and not (channel_type = 'in_app' and status = any(${FEED_STATUSES}::text[]))
      returning id
    )
    delete from deliveries d
    using gone
    where d.environment = ${environment} and d.message_id = gone.id
  `)
}
