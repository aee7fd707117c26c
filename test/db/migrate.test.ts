import { describe, expect } from 'vitest'
import { ConfigError } from '../../src/errors.ts'
import { applyMigrations, checkSchema, migrate, readMigrations } from '../../src/db/migrate.ts'
import { openDatabase, type Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { test } from '../support/database.ts'

const known = readMigrations(new URL('../../src/db/migrations/', import.meta.url))
const next = known.length + 1

function migration(text: string, changes: { number?: number; breaking?: boolean } = {}) {
  const { number = next, breaking = false } = changes
  return { number, name: `${number}-extra.sql`, text, checksum: text, breaking }
}

/** Slow enough for others to come while it is under way. */
const RACED = 'select pg_sleep(0.1); create table raced (id integer)'

async function tables(database: Database, name: string): Promise<unknown[]> {
  return database.query(sql`
    select table_schema from information_schema.tables where table_name = ${name}`)
}

describe('migrate', () => {
  test('puts our tables into the schema belfry and the queue beside it', async ({ database }) => {
    expect(await tables(database, 'workflow_runs')).toEqual([{ table_schema: 'belfry' }])
    expect(await tables(database, 'job')).toEqual([{ table_schema: 'belfry_queue' }])
  })

  test('does nothing the second time', async ({ database }) => {
    const before = await database.query(sql`select number, applied_at from migrations`)
    await migrate(database)
    expect(await database.query(sql`select number, applied_at from migrations`)).toEqual(before)
  })

  test('undoes a migration that fails, its bookkeeping included', async ({ database }) => {
    const broken = migration('create table half (id integer); select 1 / 0;')
    await expect(applyMigrations(database, [...known, broken])).rejects.toThrow('division by zero')
    expect(await tables(database, 'half')).toEqual([])
    await expect(applyMigrations(database, known)).resolves.toBeUndefined()
  })

  test('applies each migration once when many processes start at once', async ({ database }) => {
    const others = [1, 2, 3].map(() => openDatabase(database.url))
    const extra = [...known, migration(RACED)]
    await Promise.all([database, ...others].map((one) => applyMigrations(one, extra)))
    await Promise.all(others.map((one) => one.close()))
    expect(await tables(database, 'raced')).toHaveLength(1)
  })

  test('lets an older process run beside a migration that breaks nothing', async ({ database }) => {
    await applyMigrations(database, [...known, migration(RACED)])
    await expect(checkSchema(database)).resolves.toBeUndefined()
  })

  test('refuses a database whose migrations differ from ours', async ({ database }) => {
    const changed = known.map((one) => ({ ...one, checksum: 'other' }))
    await expect(applyMigrations(database, changed)).rejects.toThrow(ConfigError)
  })

  test('refuses a database that a newer version has changed beyond us', async ({ database }) => {
    const newer = { number: next + 1, breaking: true }
    const all = [...known, migration(RACED), migration('', newer)]
    await applyMigrations(database, all)
    await expect(checkSchema(database)).rejects.toThrow('newer version')
    await expect(migrate(database)).rejects.toThrow(ConfigError)
  })
})
