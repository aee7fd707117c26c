import { randomBytes } from 'node:crypto'
import { inject, test as base } from 'vitest'
import { openDatabase, type Database } from '../../src/db/database.ts'
import { administer, withDatabase } from './setup.ts'

/** A database that is dropped when the test file is done. */
export interface TestDatabase {
  readonly database: Database
  drop(): Promise<void>
}

/** A fresh clone of the migrated blank database; for tests that need a second one. */
export async function cloneBlank(): Promise<TestDatabase> {
  const adminUrl = inject('adminUrl')
  const name = `belfry_test_${randomBytes(6).toString('hex')}`
  await administer(adminUrl, (admin) =>
    admin.query(`create database ${name} template ${inject('blank')} strategy file_copy`),
  )
  const database = openDatabase(withDatabase(adminUrl, name), { connectionsMax: 6 })
  return {
    database,
    async drop() {
      await database.close()
      await administer(adminUrl, (admin) => admin.query(`drop database ${name} with (force)`))
    },
  }
}

/** Closes a database to everybody and cuts all its connections, or opens it again. */
export async function setReachable(database: Database, isReachable: boolean): Promise<void> {
  await administer(inject('adminUrl'), async (admin) => {
    await admin.query(`alter database ${nameOf(database)} allow_connections ${isReachable}`)
  })
  if (!isReachable) await cutConnections(database)
}

/** Ends every connection to a database, whoever has it. */
export async function cutConnections(database: Database): Promise<void> {
  await administer(inject('adminUrl'), async (admin) => {
    await admin.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${nameOf(database)}'`,
    )
  })
}

function nameOf(database: Database): string {
  return /\/(belfry_test_[0-9a-f]+)/.exec(database.url)?.[1] ?? ''
}

/** vitest's `test` with `database`: a clone of the blank database that the tests of one file share. */
export const test = base.extend<{ database: Database }>({
  database: [
    // vitest reads the first parameter's pattern to learn what the fixture needs.
    // oxlint-disable-next-line no-empty-pattern
    async ({}, use) => {
      const clone = await cloneBlank()
      await use(clone.database)
      await clone.drop()
    },
    { scope: 'file' },
  ],
})
