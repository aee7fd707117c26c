import { beforeEach, expect, vi } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import type { EnvironmentName } from '../../src/ids.ts'
import { asPreferences } from '../../src/recipients/preference-input.ts'
import {
  listPreferences,
  loadPreferences,
  type PreferenceWrite,
} from '../../src/recipients/preference-store.ts'
import { deleteRecipient, mergeUsers, upsertRecipients } from '../../src/recipients/store.ts'
import { test } from '../support/database.ts'

const production = 'production' as EnvironmentName
const staging = 'staging' as EnvironmentName
const now = new Date('2030-01-01T00:00:00Z')
const ann = { collection: '$users', id: 'ann' }

beforeEach<{ database: Database }>(async ({ database }) => {
  await database.execute('truncate recipients, channel_data, preference_sets')
})

function writing(mode: 'merge' | 'replace', settings: object): PreferenceWrite {
  return { set: 'default', settings: settings as never, mode }
}

async function say(
  database: Database,
  settings: object,
  { environment = production, id = 'ann' } = {},
): Promise<void> {
  const write = writing('merge', settings)
  const patch = { collection: '$users', id, properties: {}, preferences: [write] }
  await database.transaction((tx) => upsertRecipients(tx, environment, [patch], now))
}

async function saidBy(database: Database, id = 'ann', environment = production) {
  const sets = await listPreferences(database, environment, { ...ann, id })
  return Object.fromEntries(sets.map(({ set, settings }) => [set, settings]))
}

test('writers at the same time lose nothing of each other', async ({ database }) => {
  const names = Array.from({ length: 20 }, (_, index) => `w${index}`)
  await Promise.all(names.map((name) => say(database, { workflows: { [name]: false } })))
  expect(Object.keys((await saidBy(database))['default']?.workflows ?? {})).toHaveLength(20)
})

test('a set that one call names twice gets both', async ({ database }) => {
  const patches = [
    { ...ann, properties: {}, preferences: [writing('merge', { channel_types: { sms: false } })] },
    { ...ann, properties: {}, preferences: [writing('merge', { channel_types: { push: false } })] },
  ]
  await database.transaction((tx) => upsertRecipients(tx, production, patches, now))
  expect(await saidBy(database)).toEqual({
    default: { channel_types: { sms: false, push: false } },
  })
  const replacing = [
    {
      ...ann,
      properties: {},
      preferences: [writing('replace', {}), writing('merge', { channels: {} })],
    },
  ]
  await database.transaction((tx) => upsertRecipients(tx, production, replacing, now))
  expect(await saidBy(database)).toEqual({ default: { channels: {} } })
})

test('an environment knows nothing of the sets of another one', async ({ database }) => {
  await say(database, { workflows: { a: false } })
  expect(await saidBy(database, 'ann', staging)).toEqual({})
  expect(await loadPreferences(database, staging, [{ ...ann, set: 'default' }])).toEqual([])
  await say(database, { workflows: { b: false } }, { environment: staging })
  await database.transaction((tx) => deleteRecipient(tx, staging, ann))
  expect(await saidBy(database, 'ann', staging)).toEqual({})
  expect(await saidBy(database)).toEqual({ default: { workflows: { a: false } } })
  await say(database, {}, { id: 'guest' })
  await database.transaction((tx) =>
    mergeUsers(tx, production, { from: 'ann', into: 'guest' }, now),
  )
  expect(await saidBy(database, 'guest')).toEqual({ default: { workflows: { a: false } } })
  expect(await saidBy(database)).toEqual({})
})

/** Resolves once a transaction of this database waits for another one. */
async function untilWaiting(database: Database): Promise<void> {
  await vi.waitFor(
    async () => {
      const waiting = await database.query(sql`
        select pid from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'
      `)
      expect(waiting).not.toEqual([])
    },
    { timeout: 10_000, interval: 10 },
  )
}

test('a set that is written while its recipient is deleted does not outlive it', async ({
  database,
}) => {
  await say(database, {})
  const { promise: deleted, resolve } = Promise.withResolvers<boolean>()
  await database.transaction(async (tx) => {
    const write = { set: 'acme', settings: {}, mode: 'merge' as const }
    await upsertRecipients(tx, production, [{ ...ann, properties: {}, preferences: [write] }], now)
    resolve(database.transaction((other) => deleteRecipient(other, production, ann)))
    await untilWaiting(database)
  })
  expect(await deleted).toBe(true)
  expect(await saidBy(database)).toEqual({})
})

test('what is stored and is no set is taken for none', () => {
  expect(asPreferences({ workflows: { a: false } })).toEqual({ workflows: { a: false } })
  for (const value of [null, undefined, 5, [], 'x', { sms: true }, { workflows: 5 }])
    expect(asPreferences(value)).toBeUndefined()
  const condition = { variable: 'data.a', operator: 'no_such' }
  expect(asPreferences({ channel_types: { sms: { conditions: [condition] } } })).toBeUndefined()
})
