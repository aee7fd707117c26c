import { expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { analyzeChanged } from '../../src/db/statistics.ts'
import { test } from '../support/database.ts'

test('statistics follow a table that has grown, once', async ({ database }) => {
  const at = new Date('2027-03-01T09:00:00Z')
  await database.query(sql`
    insert into recipients (environment, collection, id, properties, created_at, updated_at)
    select 'production', '$users', n::text, '{}', ${at}, ${at} from generate_series(1, 5000) as n
  `)
  // Postgres counts changes at most once a second.
  await expect.poll(() => analyzeChanged(database), { timeout: 10_000 }).toBe(1)
  const [row] = await database.query<{ rows: number }>(sql`
    select reltuples::integer as rows from pg_class where oid = 'recipients'::regclass
  `)
  expect(row?.rows).toBe(5000)
  expect(await analyzeChanged(database)).toBe(0)
})
