import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { newRowId } from '../../src/ids.ts'
import { NOW } from './server-support.ts'

/** Applies a revision to an environment, as a reconcile would: settings, and workflows by key. */
export async function applyRevision(
  database: Database,
  environment: string,
  workflows: Readonly<Record<string, object>>,
): Promise<void> {
  const settings = JSON.stringify({
    timezone: 'Etc/UTC',
    locale: 'en',
    variables: {},
    channels: {
      email: {
        key: 'email',
        type: 'email',
        provider: 'smtp',
        settings: { from: 'Us <us@example.com>' },
      },
    },
  })
  const keys = Object.keys(workflows)
  await database.query(sql`
    update environments set sequence = 1, observed_revision = 'rev1', attempted_revision = 'rev1',
      applied_at = ${NOW}, settings = ${settings}, state = 'ready', reason = 'applied', message = 'live'
    where name = ${environment}
  `)
  await database.query(sql`
    insert into revisions (environment, sequence, revision, settings, added, changed, archived, applied_at)
    values (${environment}, 1, 'rev1', ${settings}, ${keys}::text[], '{}', '{}', ${NOW})
    on conflict do nothing
  `)
  for (const [key, workflow] of Object.entries(workflows)) {
    const id = `${environment}-${key}`
    await database.query(sql`
      insert into versions (id, key, workflow, files, blobs, channel_uses, variable_uses, created_at)
      values (${id}, ${key}, ${JSON.stringify(workflow)}, '{}', '{}', '[]', '[]', ${NOW})
      on conflict do nothing
    `)
    await database.query(sql`
      insert into workflows (environment, key, version_id, tree, sequence, created_at, updated_at)
      values (${environment}, ${key}, ${id}, 'tree', 1, ${NOW}, ${NOW})
      on conflict do nothing
    `)
  }
}

/** Stores finished and sleeping runs of one trigger; answers their ids, oldest first. */
export async function storeRuns(database: Database, count: number): Promise<string[]> {
  const trigger = newRowId()
  await database.query(sql`
    insert into workflow_runs (environment, id, workflow, version_id, sequence, revision, trigger_source,
      data, settings, recipients, fan_out, missing, inserted_at)
    values ('development', ${trigger}, 'welcome', 'development-welcome', 1, 'rev1', '{"type":"api"}', '{}', '{}',
      '[]', 'done', '[{"collection":"$users","id":"nobody"}]', ${NOW})
  `)
  const ids: string[] = []
  for (let index = 0; index < count; index += 1) {
    const id = newRowId()
    ids.push(id)
    const failed = index % 2 === 1
    await database.query(sql`
      insert into runs (environment, id, workflow_run_id, workflow, version_id, collection, recipient, status, outcome,
        reason, error_count, inserted_at, updated_at, finished_at)
      values ('development', ${id}, ${trigger}, 'welcome', 'development-welcome', '$users', ${`user-${index}`}, 'completed',
        ${failed ? 'failed' : 'completed'}, ${failed ? 'step_failed' : null}, ${failed ? 1 : 0}, ${NOW}, ${NOW}, ${NOW})
    `)
  }
  return ids
}
