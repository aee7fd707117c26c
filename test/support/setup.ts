import { createHash, randomBytes } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { Client } from 'pg'
import type { TestProject } from 'vitest/node'
import { openDatabase } from '../../src/db/database.ts'
import { startEmbedded } from '../../src/db/embedded.ts'
import { migrate } from '../../src/db/migrate.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    /** Address of a database in which databases can be made. */
    adminUrl: string
    /** A migrated database without rows, to be cloned. */
    blank: string
  }
}

const MEMORY = '/dev/shm'
/** initdb, WAL and a few clones at once; containers often have 64 MB there. */
const MEMORY_BYTES_MIN = 600 * 2 ** 20
/** A server of which nothing must survive. */
const VOLATILE = {
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
  max_connections: '200',
}

/** Gives the run a Postgres server and a migrated blank database. Named by vitest.config.ts. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const given = process.env['BELFRY_TEST_DATABASE_URL']
  const server = given ? { adminUrl: given, stop: () => Promise.resolve() } : await ownServer()
  const blank = `belfry_blank_${randomBytes(4).toString('hex')}`
  try {
    await makeBlank(server.adminUrl, blank)
  } catch (error) {
    await server.stop()
    throw error
  }
  project.provide('adminUrl', server.adminUrl)
  project.provide('blank', blank)
  return async () => {
    await administer(server.adminUrl, async (admin) => {
      await admin.query(`alter database ${blank} is_template false`)
      await admin.query(`drop database ${blank} with (force)`)
    })
    await server.stop()
  }
}

/** The same database with another name. */
export function withDatabase(url: string, name: string): string {
  return url.replace(/\/[^/?]*(\?|$)/, `/${name}$1`)
}

export async function administer<T>(
  adminUrl: string,
  work: (admin: Client) => Promise<T>,
): Promise<T> {
  const admin = new Client({ connectionString: adminUrl, application_name: 'belfry-test' })
  await admin.connect()
  try {
    return await work(admin)
  } finally {
    await admin.end()
  }
}

async function makeBlank(adminUrl: string, blank: string): Promise<void> {
  await administer(adminUrl, async (admin) => {
    await admin.query(`create database ${blank}`)
    const database = openDatabase(withDatabase(adminUrl, blank))
    await migrate(database)
    await database.close()
    await admin.query(`alter database ${blank} is_template true allow_connections false`)
  })
}

/** One server for each checkout: runs at the same time share it, and the last one stops it. */
async function ownServer(): Promise<{ adminUrl: string; stop: () => Promise<void> }> {
  const directory = serverDirectory()
  fs.mkdirSync(directory, { recursive: true })
  if (fs.lstatSync(directory).uid !== process.getuid?.()) {
    throw new Error(`${directory} belongs to somebody else`)
  }
  // Closed, it would send root's server to a disk.
  fs.chmodSync(directory, 0o711)
  const server = await startEmbedded(directory, { settings: VOLATILE })
  if (await server.isAlone()) await dropLeftOver(server.adminUrl)
  const stop = async () => {
    if (!(await server.stop())) return
    // Renamed first, so that a run which starts right now does not lose its files one by one.
    const waste = `${directory}.${randomBytes(4).toString('hex')}`
    fs.renameSync(directory, waste)
    fs.rmSync(waste, { recursive: true })
  }
  return { adminUrl: server.adminUrl, stop }
}

function serverDirectory(): string {
  const hash = createHash('sha256').update(fs.realpathSync('.')).digest('hex').slice(0, 12)
  const base = hasRoom(MEMORY) ? MEMORY : os.tmpdir()
  return path.join(base, `belfry-test-${process.getuid?.()}-${hash}`)
}

function hasRoom(directory: string): boolean {
  try {
    const { bavail, bsize } = fs.statfsSync(directory)
    return bavail * bsize >= MEMORY_BYTES_MIN
  } catch {
    return false
  }
}

/** What a run that was killed has left on the server it left running. */
async function dropLeftOver(adminUrl: string): Promise<void> {
  await administer(adminUrl, async (admin) => {
    const { rows } = await admin.query<{ name: string }>(
      `select datname as name from pg_database where datname ~ '^belfry_(blank|test)_'`,
    )
    for (const { name } of rows) {
      await admin.query(`alter database ${name} is_template false`)
      await admin.query(`drop database ${name} with (force)`)
    }
  })
}
