import { Client } from 'pg'
import { connectionSettings, type Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'

/** Whose jobs a process has fetched and not ended. */
export async function activeJobs(database: Database): Promise<readonly string[]> {
  const rows = await database.query<{ name: string }>(sql`
    select distinct name from belfry_queue.job where state = 'active' order by name`)
  return rows.map(({ name }) => name)
}

/** Stops every transaction that asks what may be sent. */
export async function lockSwitches(database: Database) {
  const client = new Client(connectionSettings(database.url))
  client.on('error', () => {})
  await client.connect()
  await client.query('begin; lock table switches in access exclusive mode')
  const release = () => client.end()
  return { release, [Symbol.asyncDispose]: release }
}
