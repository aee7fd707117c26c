import type { Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import type { EnvironmentName, WorkflowRunId } from '../ids.ts'
import type { Move } from '../messages/store.ts'
import { recipientKey, type RecipientRef } from '../recipients/recipient.ts'
import type { TriggerFrequency } from '../workflow/workflow.ts'
import type { PendingWorkflowRun } from './store.ts'

/** A trigger whose recipients are about to get their runs. */
export interface Admission {
  readonly environment: EnvironmentName
  readonly id: WorkflowRunId
  readonly run: PendingWorkflowRun
}

/**
 * Enters recipients into the ledger of a workflow that runs once for each of them, and answers the keys of
 * those who stood there before. Where two triggers come at once, the second waits for the first one's commit.
 * A sandboxed run and a replay ask nobody, and leave no entry.
 */
export async function findServed(
  tx: Transaction,
  { environment, id, run }: Admission,
  { frequency, recipients }: Admitting,
  now: Date,
): Promise<ReadonlySet<string>> {
  const isTest = run.settings.sandbox_mode === true || run.source === 'replay'
  if (frequency === 'every_trigger' || isTest || recipients.length === 0) return new Set()
  const perTenant = frequency === 'once_per_recipient_per_tenant'
  const tenant = (perTenant && run.tenant) || ''
  const entered = await tx.query<RecipientRef>(sql`
    insert into frequency_ledger (environment, workflow, collection, recipient, tenant,
      workflow_run_id, inserted_at)
    select ${environment}, ${run.workflow}, i.collection, i.recipient, ${tenant}, ${id}, ${now}
    from unnest(${recipients.map(({ collection }) => collection)}::text[],
      ${recipients.map((recipient) => recipient.id)}::text[]) as i (collection, recipient)
    where ${perTenant} or not exists (
      select from frequency_ledger f
      where f.environment = ${environment} and f.workflow = ${run.workflow}
        and f.collection = i.collection and f.recipient = i.recipient
    )
    order by i.collection, i.recipient
    on conflict do nothing
    returning collection, recipient as id
  `)
  const isNew = new Set(entered.map(recipientKey))
  return new Set(recipients.map(recipientKey).filter((key) => !isNew.has(key)))
}

interface Admitting {
  readonly frequency: TriggerFrequency
  readonly recipients: readonly RecipientRef[]
}

/** What one user has had counts for the one that it is merged into. */
export async function moveLedger(
  tx: Transaction,
  environment: EnvironmentName,
  { collection, from, into }: Move,
): Promise<void> {
  await tx.query(sql`
    with moved as (
      delete from frequency_ledger
      where environment = ${environment} and collection = ${collection} and recipient = ${from}
      returning workflow, tenant, workflow_run_id, inserted_at
    )
    insert into frequency_ledger (environment, workflow, collection, recipient, tenant,
      workflow_run_id, inserted_at)
    select ${environment}, workflow, ${collection}, ${into}, tenant, workflow_run_id, inserted_at
    from moved
    on conflict do nothing
  `)
}
