import { expect } from 'vitest'
import { test } from '../support/database.ts'
import { OPERATOR, openApp } from './app-support.ts'

const files = { 'environments/production.yaml': 'ref: main\n' }

test('BELFRY_RATE_LIMITS=on limits the calls of keys, and none of the operator', async ({
  database,
}) => {
  await using app = await openApp(database, { files, env: { BELFRY_RATE_LIMITS: 'on' } })
  const statuses = async (key?: string) => {
    // Three at once are in two seconds at most.
    const calls = Array.from({ length: 3 }, (_, index) =>
      app.call('POST', '/v1/users/bulk/delete?environment=production', {
        ...(key !== undefined && { key }),
        body: { user_ids: [`u${index}`] },
      }),
    )
    return new Set((await Promise.all(calls)).map(({ status }) => status))
  }
  expect(await statuses()).toEqual(new Set([200, 429]))
  expect(await statuses(OPERATOR)).toEqual(new Set([200]))
})
