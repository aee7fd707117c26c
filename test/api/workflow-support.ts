import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
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
