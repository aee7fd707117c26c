import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { expect, onTestFinished } from 'vitest'
import { openDatabase } from '../../src/db/database.ts'
import { assertReachable } from '../../src/db/reach.ts'
import { ConfigError } from '../../src/errors.ts'
import { test } from '../support/database.ts'
import { temporaryDirectory } from '../support/repository.ts'

/** A port on which nobody listens. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

async function reach(url: string): Promise<unknown> {
  const database = openDatabase(url)
  onTestFinished(() => database.close())
  return assertReachable(database).catch((error: unknown) => error)
}

test('a Postgres that answers is taken as it is', async ({ database }) => {
  expect(await reach(database.url)).toBeUndefined()
})

test('what keeps it from being used is said, with where it was looked for', async ({
  database,
}) => {
  const port = await freePort()
  const gone = await reach(`postgres://belfry:hush-hush@127.0.0.1:${port}/belfry`)
  expect(gone).toBeInstanceOf(ConfigError)
  expect(String(gone)).toContain(`DATABASE_URL: Postgres cannot be used at 127.0.0.1:${port}: `)
  expect(String(gone)).toContain('ECONNREFUSED')
  expect(String(gone)).not.toContain('hush-hush')

  const other = await reach(database.url.replace(/belfry_test_[0-9a-f]+/, 'belfry_not_there'))
  expect(other).toBeInstanceOf(ConfigError)
  expect(String(other)).toContain('belfry_not_there')

  const odd = await reach('postgres://belfry:hush-hush@[::/belfry')
  expect(odd).toBeInstanceOf(ConfigError)
  expect(String(odd)).not.toContain('hush-hush')
})

test.each([['serve'], ['keys', 'list']])(
  '%s without its Postgres exits with 2 and no stack',
  async (...words) => {
    const directory = await temporaryDirectory()
    onTestFinished(() => rm(directory, { recursive: true }))
    const port = await freePort()
    const env = {
      PATH: process.env['PATH'],
      DATABASE_URL: `postgres://belfry:hush-hush@localhost:${port}/belfry`,
      BELFRY_DATA_DIR: directory,
    }
    const { code, error } = await new Promise<{ code: unknown; error: string }>((resolve) => {
      execFile(process.execPath, ['src/main.ts', ...words], { env }, (failure, _, written) =>
        resolve({ code: failure?.code, error: written }),
      )
    })
    expect({ code, error }).toEqual({
      code: 2,
      error: expect.stringContaining(
        `DATABASE_URL: Postgres cannot be used at localhost:${port}: `,
      ),
    })
    expect(error.trim().split('\n')).toHaveLength(1)
    expect(error).not.toContain('hush-hush')
  },
)
