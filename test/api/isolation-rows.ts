import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { newRowId } from '../../src/ids.ts'

/** It stands in all that production has, and nobody else may see it. */
export const MARK = 'only-of-production'
/** What stands in its place in what staging has. */
export const TWIN = 'only-of-staging'
/** The id of all rows of production whose id is one of ours. */
export const ROW = newRowId()

export const REVISION = 'a'.repeat(40)

/** Columns that are called the same mean the same in all tables. */
const SHARED: Readonly<Record<string, unknown>> = {
  environment: 'production',
  workflow: 'hello',
  version_id: 'version-1',
  channel: 'feed',
  collection: '$users',
  recipient: 'ann',
  user_id: 'ann',
  key: 'hello',
  audience: 'hello',
  source: 'hello',
}

const AT = '2026-03-01T12:00:00.000Z'
const EVENT = { event: MARK, status: 'ok', attempt: 1, data: {}, at: AT }

/** What its table asks of a row, or what makes the API show it. */
const OWN: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  workflow_runs: {
    recipients: [{ collection: '$users', id: 'ann' }],
    fan_out: 'done',
    trigger_source: { type: 'api', mark: MARK },
  },
  runs: { status: 'paused', wakes_at: AT, waits_for: 'delay', tenant: MARK },
  run_steps: { events: [EVENT] },
  run_actions: { action: 'wake' },
  bulk_operations: { status: 'completed', errors: [] },
  brake_events: { kind: 'suspend' },
  drift_events: { outcome: 'repaired', found: [{ mark: MARK }] },
  commit_statuses: { sha: REVISION, state: 'success' },
  deliveries: {
    request: { method: 'POST', host: 'example.com', path: '/', headers: {}, body: MARK },
  },
  revisions: { revision: REVISION, signer: MARK, parts: {}, diagnostics: [] },
  subscriptions: { object_collection: 'teams', object_id: 'core' },
  audience_members: { tenant: MARK },
  schedules: { repeats: [] },
  switches: { active: false, reason: MARK },
  switch_events: { channel: '', reason: MARK },
  source_events: { event: MARK },
  plan_requests: { answered_at: null },
}

interface Column {
  readonly table: string
  readonly name: string
  readonly type: string
  readonly isAsked: boolean
}

/** Columns of all tables that an environment has rows in. */
async function loadColumns(database: Database): Promise<ReadonlyMap<string, readonly Column[]>> {
  const columns = await database.query<Column>(sql`
    select c.table_name as table, c.column_name as name, c.data_type as type,
      c.is_nullable = 'NO' and c.column_default is null as "isAsked"
    from information_schema.columns c
    join information_schema.tables t using (table_schema, table_name)
    where c.table_schema = 'belfry' and t.table_type = 'BASE TABLE'
      and exists (
        select from information_schema.columns e
        where (e.table_schema, e.table_name, e.column_name) = (c.table_schema, c.table_name, 'environment')
      )
    order by c.table_name <> 'recipients', c.table_name, c.ordinal_position
  `)
  return Map.groupBy(columns, ({ table }) => table)
}

const BY_TYPE: Readonly<Record<string, unknown>> = {
  text: MARK,
  uuid: ROW,
  jsonb: { mark: MARK },
  'timestamp with time zone': AT,
  boolean: false,
  ARRAY: [],
  bytea: '\\x00',
}

/** Gives production a row in each table where it has none, so in a new table as well. */
export async function fillTables(database: Database): Promise<void> {
  for (const [table, columns] of await loadColumns(database)) {
    const asked = columns.filter(({ isAsked }) => isAsked)
    const row = {
      ...Object.fromEntries(
        asked.map(({ name, type }) => [name, SHARED[name] ?? BY_TYPE[type] ?? 1]),
      ),
      ...OWN[table],
    }
    const names = Object.keys(row).join(', ')
    await database.execute(
      `insert into ${table} (${names})
       select ${names} from jsonb_populate_record(null::${table}, $1)
       where not exists (select from ${table} where environment = 'production')`,
      [JSON.stringify(row)],
    )
  }
}

/** Gives production one more of what it has one of, for what else it may be of. */
export async function addRow(database: Database, table: string, changes: object): Promise<void> {
  await database.execute(
    `insert into ${table} select (jsonb_populate_record(t, $1)).*
     from ${table} t where environment = 'production'`,
    [JSON.stringify({ id: newRowId(), ...changes })],
  )
}

/** Gives staging all that production has under the same ids and names, without the mark. */
export async function openTwin(database: Database): Promise<() => Promise<void>> {
  const tables = [...(await loadColumns(database)).keys()].filter((name) => name !== 'api_keys')
  const text = [
    ...tables.toReversed().map((table) => `delete from ${table} where environment = 'staging'`),
    ...tables.map(
      (table) => `insert into ${table} select (jsonb_populate_record(null::${table},
        replace(to_jsonb(t)::text, '${MARK}', '${TWIN}')::jsonb || '{"environment": "staging"}')).*
        from ${table} t where environment = 'production'`,
    ),
  ].join(';')
  return async () => {
    await database.execute(text)
  }
}

interface TableState {
  readonly table: string
  readonly count: number
  readonly digest: string | null
}

/** All that production has, by table, whichever tables there are; equal digests are equal rows. */
export async function stateOf(
  database: Database,
  environment = 'production',
): Promise<readonly TableState[]> {
  const tables = [...(await loadColumns(database)).keys()].map((name) => ({
    name,
    column: 'environment',
  }))
  const parts = [{ name: 'environments', column: 'name' }, ...tables].map(
    ({ name, column }) =>
      `select '${name}' as table, count(*)::integer as count,
         md5(string_agg(t::text, ',' order by t::text)) as digest
       from ${name} t where ${column} = '${environment}'`,
  )
  const { rows } = await database.execute(`${parts.join(' union all ')} order by 1`)
  return rows as TableState[]
}
