import { createHash } from 'node:crypto'
import fs from 'node:fs'
import { ConfigError, messageOf } from '../errors.ts'
import { SCHEMA, type Database, type Queryable, type Transaction } from './database.ts'
import { installQueue } from './queue.ts'
import { sql } from './sql.ts'

/** One numbered step of the schema: the text of a file `NNNN-what.sql`. */
export interface Migration {
  readonly number: number
  readonly name: string
  readonly text: string
  readonly checksum: string
  /** A process that does not know this step must not run on the database: first line `-- breaking`. */
  readonly breaking: boolean
}

interface Applied {
  readonly number: number
  readonly name: string
  readonly checksum: string
  readonly breaking: boolean
}

const FILE = /^(\d{4})-[a-z0-9-]+\.sql$/
const BREAKING = /^-- breaking\b/
const MIGRATIONS = new URL('./migrations/', import.meta.url)

/**
 * Brings the database to the newest schema, ours and the queue's. Safe to call from many processes
 * at once: each step is applied by one of them, whole or not at all. Throws a `ConfigError` when
 * the database was migrated by a version of Belfry that this one cannot work beside.
 */
export async function migrate(database: Database): Promise<void> {
  await applyMigrations(database, readMigrations(MIGRATIONS))
  await installQueue(database)
}

/**
 * Throws a `ConfigError` when the schema has moved on to something this process must not run on.
 * For a process that is already running, while a newer one migrates.
 */
export async function checkSchema(database: Queryable): Promise<void> {
  checkApplied(readMigrations(MIGRATIONS), await listApplied(database))
}

/** The number of the last migration that this program knows. */
export function newestMigration(): number {
  return readMigrations(MIGRATIONS).at(-1)?.number ?? 0
}

/** The number of the last migration that was applied, and why this program must not run on that; null where it may. */
export async function inspectSchema(
  database: Queryable,
): Promise<{ readonly migration: number; readonly refusal: string | null }> {
  const applied = await listApplied(database)
  const migration = applied.at(-1)?.number ?? 0
  try {
    checkApplied(readMigrations(MIGRATIONS), applied)
    return { migration, refusal: null }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return { migration, refusal: messageOf(error) }
  }
}

/** The migrations of a directory in order. Throws when a name or the numbering is not as it must be. */
export function readMigrations(directory: URL | string): Migration[] {
  const base = directory instanceof URL ? directory : new URL(`file://${directory}/`)
  const names = fs.readdirSync(base).filter((name) => name.endsWith('.sql'))
  return names.toSorted().map((name, index) => {
    const number = Number(FILE.exec(name)?.[1])
    if (number !== index + 1) {
      throw new Error(`migration ${name}: expected a name like ${numbered(index + 1)}-what.sql`)
    }
    const text = fs.readFileSync(new URL(name, base), 'utf8')
    const checksum = createHash('sha256').update(text).digest('hex')
    return { number, name, text, checksum, breaking: BREAKING.test(text) }
  })
}

/** Applies what is missing, one transaction each. */
export async function applyMigrations(
  database: Database,
  migrations: readonly Migration[],
): Promise<void> {
  for (;;) {
    const done = await database.transaction((tx) => applyNext(tx, migrations))
    if (done) return
  }
}

/** True when nothing was left to apply. */
async function applyNext(tx: Transaction, migrations: readonly Migration[]): Promise<boolean> {
  // One process at a time; the others find the step done when they get here.
  await tx.query(sql`select pg_advisory_xact_lock(hashtextextended('belfry.migrate', 0))`)
  await tx.execute('set local statement_timeout = 0')
  await tx.execute(`create schema if not exists ${SCHEMA}`)
  await tx.query(sql`
    create table if not exists migrations (
      number integer primary key,
      name text not null,
      checksum text not null,
      breaking boolean not null,
      applied_at timestamptz not null default now()
    )`)
  const applied = await listApplied(tx)
  checkApplied(migrations, applied)
  const last = applied.at(-1)?.number ?? 0
  const next = migrations.find((one) => one.number > last)
  if (!next) return true
  await tx.query(sql`
    insert into migrations (number, name, checksum, breaking)
    values (${next.number}, ${next.name}, ${next.checksum}, ${next.breaking})`)
  await tx.execute(next.text)
  return false
}

function listApplied(database: Queryable): Promise<Applied[]> {
  return database.query<Applied>(sql`
    select number, name, checksum, breaking
    from migrations
    order by number`)
}

function checkApplied(migrations: readonly Migration[], applied: readonly Applied[]): void {
  for (const { number, name, checksum, breaking } of applied) {
    const ours = migrations.find((one) => one.number === number)
    if (!ours && breaking) {
      throw new ConfigError(
        `the database was migrated by a newer version of Belfry (${name}); start that version`,
      )
    }
    if (ours && ours.checksum !== checksum) {
      throw new ConfigError(
        `migration ${ours.name} differs from the one this database was migrated with; start the version that matches the database`,
      )
    }
  }
}

function numbered(number: number): string {
  return String(number).padStart(4, '0')
}
