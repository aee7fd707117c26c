import fs from 'node:fs'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { expect } from 'vitest'
import { routes } from '../../src/api/index.ts'
import type { ServerOptions } from '../../src/api/server.ts'
import type { Database } from '../../src/db/database.ts'
import { openQueue } from '../../src/db/queue.ts'
import { silentLog } from '../../src/log.ts'
import { NOW, serve, type TestServer } from './server-support.ts'

/** The shapes of replies that clients are made for, as JSON Schemas. */
const contract = JSON.parse(
  fs.readFileSync(new URL('contract.json', import.meta.url), 'utf8'),
) as object
// Formats are not checked: ids of versions are not UUIDs here.
const ajv = new Ajv2020({ allErrors: true, strict: false, validateFormats: false })
ajv.addSchema({ $id: 'contract', ...contract })

/** Holds a reply to the shape of this name. */
export function expectShape(name: string, body: unknown): void {
  const validate = ajv.getSchema(`contract#/$defs/${name}`)
  if (!validate) throw new Error(`the contract has no ${name}`)
  const holds = validate(body)
  expect({ name, holds, errors: validate.errors }).toEqual({ name, holds: true, errors: null })
}

/** A server with all routes and a queue of its own. */
export async function serveAll(
  database: Database,
  options: Partial<ServerOptions> = {},
): Promise<TestServer> {
  await using stack = new AsyncDisposableStack()
  const queue = stack.use(await openQueue(database, { log: silentLog }))
  const services = { queue, hasLookedAtGit: () => true, startedAt: new Date(NOW) }
  const api = stack.use(await serve(database, routes, { services, ...options }))
  const opened = stack.move()
  return { ...api, [Symbol.asyncDispose]: () => opened.disposeAsync() }
}
