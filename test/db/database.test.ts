import { describe, expect } from 'vitest'
import { openDatabase, type Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { test } from '../support/database.ts'

async function valueOf(database: Database, name: string): Promise<unknown> {
  const [row] = await database.query<{ value: unknown }>(sql`
    select value from installation where name = ${name}`)
  return row?.value
}

function save(name: string, value: number) {
  return sql`insert into installation (name, value) values (${name}, ${value})`
}

describe('a connection', () => {
  test('works in our schema, and keeps what the address asks for', async ({ database }) => {
    const mark = database.url.includes('?') ? '&' : '?'
    const url = `${database.url}${mark}options=${encodeURIComponent('-c work_mem=7MB')}`
    await using other = openDatabase(url)
    expect(
      await other.query(
        sql`select current_setting('search_path') as path, current_setting('work_mem') as memory`,
      ),
    ).toEqual([{ path: 'belfry', memory: '7MB' }])
  })
})

test('statements that are not ours may be several in one text', async ({ database }) => {
  expect((await database.execute('select 1 as a; select 2 as a', [])).rows).toEqual([
    { a: 1 },
    { a: 2 },
  ])
})

describe('a transaction', () => {
  test('commits everything, then runs its effects', async ({ database }) => {
    const seen: unknown[] = []
    await database.transaction(async (tx) => {
      tx.afterCommit(() => seen.push('effect'))
      await tx.query(save('a', 1))
      seen.push('work')
    })
    expect(seen).toEqual(['work', 'effect'])
    expect(await valueOf(database, 'a')).toBe(1)
  })

  test('undoes everything when its work throws, and runs no effect', async ({ database }) => {
    const seen: unknown[] = []
    const failing = database.transaction(async (tx) => {
      tx.afterCommit(() => seen.push('effect'))
      await tx.query(save('b', 1))
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    expect(seen).toEqual([])
    expect(await valueOf(database, 'b')).toBeUndefined()
  })

  test('does not pass for committed when a failed statement was swallowed', async ({
    database,
  }) => {
    const swallowing = database.transaction(async (tx) => {
      await tx.query(save('c', 1))
      await tx.query(sql`select 1 / 0`).catch(() => {})
    })
    await expect(swallowing).rejects.toThrow('rolled back')
  })

  test('undoes only the part under a savepoint, its effects included', async ({ database }) => {
    const seen: unknown[] = []
    await database.transaction(async (tx) => {
      await tx.query(save('d', 1))
      const inner = tx.savepoint(async () => {
        tx.afterCommit(() => seen.push('inner'))
        await tx.query(save('e', 1))
        throw new Error('no')
      })
      await expect(inner).rejects.toThrow('no')
      tx.afterCommit(() => seen.push('outer'))
    })
    expect(await valueOf(database, 'd')).toBe(1)
    expect(await valueOf(database, 'e')).toBeUndefined()
    expect(seen).toEqual(['outer'])
  })

  test('undoes an outer savepoint whole after an inner one failed', async ({ database }) => {
    await database.transaction(async (tx) => {
      const outer = tx.savepoint(async () => {
        await tx.query(save('f', 1))
        await tx.savepoint(() => Promise.reject(new Error('inner'))).catch(() => {})
        throw new Error('outer')
      })
      await expect(outer).rejects.toThrow('outer')
    })
    expect(await valueOf(database, 'f')).toBeUndefined()
  })

  test('rejects when its connection is cut, and the next one works', async ({ database }) => {
    const cut = database.transaction(async (tx) => {
      const [row] = await tx.query<{ pid: number }>(sql`select pg_backend_pid() as pid`)
      await database.query(sql`select pg_terminate_backend(${row?.pid})`)
      await tx.query(save('g', 1))
    })
    // What it says depends on who notices first: the server's farewell, the driver, or the socket.
    await expect(cut).rejects.toThrow(Error)
    await database.transaction((tx) => tx.query(save('h', 1)))
    expect(await valueOf(database, 'g')).toBeUndefined()
    expect(await valueOf(database, 'h')).toBe(1)
  })
})

test('a transaction whose process stands still gives its locks back', async ({ database }) => {
  const [row] = await database.query(sql`show idle_in_transaction_session_timeout`)
  expect(row).toEqual({ idle_in_transaction_session_timeout: '10s' })
})
