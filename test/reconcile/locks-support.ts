import { Client } from 'pg'
import { connectionSettings } from '../../src/db/database.ts'
import type { Database } from '../../src/db/database.ts'

/** What another session holds of a database until it is told to let go. */
export interface HeldLock extends AsyncDisposable {
  release(how?: 'rollback' | 'commit'): Promise<void>
}

/** Does `statement` in a transaction that stays open, as somebody at a prompt would. */
export async function holdLock({ url }: Database, statement: string): Promise<HeldLock> {
  const client = new Client(connectionSettings(url))
  await client.connect()
  await client.query('begin')
  await client.query(statement)
  const end = () => client.end()
  return {
    async release(how = 'rollback') {
      await client.query(how)
      await end()
    },
    [Symbol.asyncDispose]: end,
  }
}
