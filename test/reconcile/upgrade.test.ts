import { expect } from 'vitest'
import { applyMigrations, readMigrations } from '../../src/db/migrate.ts'
import { sql } from '../../src/db/sql.ts'
import type { EnvironmentName } from '../../src/ids.ts'
import { findNamedRevisions, listWorkflowsAt } from '../../src/reconcile/history-store.ts'
import { listKnownEnvironments } from '../../src/reconcile/store.ts'
import { test } from '../support/database.ts'

const migrations = readMigrations(new URL('../../src/db/migrations/', import.meta.url))
const PRODUCTION = 'production' as EnvironmentName
const NOW = '2026-03-01T12:00:00Z'

test('a database from before there were brakes can go back to what was live at the update', async ({
  database,
}) => {
  await database.query(sql`drop schema belfry cascade`)
  await applyMigrations(database, migrations.slice(0, 1))
  await database.query(sql`
    insert into environments (name, git_ref, declared, state, reason, message, sequence, observed_revision,
      applied_at, settings, parts, diagnostics, updated_at)
    values ('production', 'main', true, 'stalled', 'invalid_files', '', 2, 'bbbbbbbb', ${NOW}, '{"locale": "fr"}',
      '{"workflows/_layouts/a.html": "1"}', '[{"severity": "error"}]', ${NOW})`)
  await database.query(sql`
    insert into revisions (environment, sequence, revision, settings, added, changed, archived, applied_at)
    values ('production', 1, 'aaaaaaaa', '{}', '{a1,b1}', '{}', '{}', ${NOW}),
      ('production', 2, 'bbbbbbbb', '{}', '{}', '{a1}', '{b1}', ${NOW})`)
  await database.query(sql`
    insert into versions (id, key, workflow, files, blobs, channel_uses, variable_uses, created_at)
    select id, left(id, 2), '{}', '{}', '{}', '[]', '[]', ${NOW} from unnest('{a1v2,b1v1}'::text[]) as v (id)`)
  await database.query(sql`
    insert into workflows (environment, key, version_id, tree, sequence, archived_at, created_at, updated_at)
    values ('production', 'a1', 'a1v2', 't2', 2, null, ${NOW}, ${NOW}),
      ('production', 'b1', 'b1v1', 't1', 2, ${NOW}, ${NOW}, ${NOW})`)

  await applyMigrations(database, migrations)
  const named = (commit: string) => findNamedRevisions(database, PRODUCTION, { commit, tree: '' })
  expect(await named('aaaa')).toMatchObject([{ revision: 'aaaaaaaa', isKept: false }])
  expect(await named('bbbb')).toMatchObject([{ revision: 'bbbbbbbb', sequence: '2', isKept: true }])
  expect(await listWorkflowsAt(database, PRODUCTION, '2')).toEqual([
    { key: 'a1', versionId: 'a1v2', tree: 't2' },
  ])
  expect(await listKnownEnvironments(database)).toMatchObject([
    { followed: '2', suspension: null, pin: null, hold: '', policy: { prune_max_percent: 20 } },
  ])
  const kept = await database.query(sql`select parts, diagnostics from revisions order by sequence`)
  expect(kept).toEqual([
    { parts: null, diagnostics: null },
    { parts: { 'workflows/_layouts/a.html': '1' }, diagnostics: [] },
  ])
})
