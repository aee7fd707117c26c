import { beforeEach, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import type { EnvironmentName } from '../../src/ids.ts'
import { deleteRecipient, loadRecipients, upsertRecipients } from '../../src/recipients/store.ts'
import { test } from '../support/database.ts'

const production = 'production' as EnvironmentName
const staging = 'staging' as EnvironmentName
const now = new Date('2030-01-01T00:00:00Z')
const later = new Date('2030-01-02T00:00:00Z')

beforeEach<{ database: Database }>(async ({ database }) => {
  await database.execute('truncate recipients, channel_data')
})

function aUser(id: string, properties: Readonly<Record<string, unknown>>) {
  return { collection: '$users', id, properties }
}

function ref(id: string) {
  return { collection: '$users', id }
}

async function findUser(database: Database, environment: EnvironmentName, id: string) {
  const [user] = await loadRecipients(database, environment, [ref(id)])
  return user
}

async function upsert(database: Database, users: readonly ReturnType<typeof aUser>[], at = now) {
  return await database.transaction((tx) => upsertRecipients(tx, production, users, at))
}

test('recipients are made, then merged into what is known', async ({ database }) => {
  await upsert(database, [aUser('ann', { name: 'Ann', address: { city: 'Graz', zip: '8010' } })])
  const [changed] = await upsert(
    database,
    [aUser('ann', { name: null, address: { zip: '8020' }, plan: 'pro' })],
    later,
  )
  const expected = {
    collection: '$users',
    id: 'ann',
    properties: { address: { city: 'Graz', zip: '8020' }, plan: 'pro' },
    createdAt: now,
    updatedAt: later,
  }
  expect(changed).toEqual(expected)
  expect(await findUser(database, production, 'ann')).toEqual(expected)
})

test('a patch that says nothing new writes nothing', async ({ database }) => {
  await upsert(database, [aUser('ann', { name: 'Ann' })])
  const [same] = await upsert(database, [aUser('ann', { name: 'Ann', gone: null })], later)
  expect(same?.updatedAt).toEqual(now)
  expect((await findUser(database, production, 'ann'))?.updatedAt).toEqual(now)
})

test('a thousand recipients are a handful of statements, and one named twice gets both patches', async ({
  database,
}) => {
  const users = Array.from({ length: 1_000 }, (_, index) => aUser(`user-${index}`, { index }))
  const made = await upsert(database, [...users, aUser('user-7', { second: true })])
  expect(made).toHaveLength(1_000)
  expect((await findUser(database, production, 'user-7'))?.properties).toEqual({
    index: 7,
    second: true,
  })
  const refs = [...users, ...users, aUser('nobody', {})]
  expect(await loadRecipients(database, production, refs)).toHaveLength(1_000)
})

test('writers at the same time lose nothing and never wait for each other', async ({
  database,
}) => {
  const ids = Array.from({ length: 20 }, (_, index) => `user-${index}`)
  const writes = Array.from({ length: 12 }, (_, writer) => {
    const order = writer % 2 === 0 ? ids : ids.toReversed()
    return upsert(
      database,
      order.map((id) => aUser(id, { [`writer-${writer}`]: { done: true } })),
    )
  })
  await Promise.all(writes)
  const users = await loadRecipients(
    database,
    production,
    ids.map((id) => aUser(id, {})),
  )
  expect(users.every(({ properties }) => Object.keys(properties).length === 12)).toBe(true)
})

test('more than 256 kB is refused, and nothing of the set is written', async ({ database }) => {
  await upsert(database, [aUser('ann', { a: 'x'.repeat(200_000) })])
  const growing = upsert(database, [
    aUser('bob', { a: 1 }),
    aUser('ann', { b: 'x'.repeat(70_000) }),
  ])
  await expect(growing).rejects.toMatchObject({ status: 422, code: 'invalid_params' })
  expect(await findUser(database, production, 'bob')).toBeUndefined()
  // The bound is on what is known in the end, so a patch may also shrink it.
  await upsert(database, [aUser('ann', { a: null, b: 'x'.repeat(250_000) })])
})

test('an environment knows only its own recipients', async ({ database }) => {
  await upsert(database, [aUser('ann', { name: 'Ann' })])
  expect(await findUser(database, staging, 'ann')).toBeUndefined()
  expect(await deleteRecipient(database, staging, ref('ann'))).toBe(false)
  expect(await loadRecipients(database, production, [{ collection: 'teams', id: 'ann' }])).toEqual(
    [],
  )
})

test('a deleted user is gone, and comes back as a new one', async ({ database }) => {
  await upsert(database, [aUser('ann', { name: 'Ann' })])
  expect(await deleteRecipient(database, production, ref('ann'))).toBe(true)
  expect(await deleteRecipient(database, production, ref('ann'))).toBe(false)
  const [again] = await upsert(database, [aUser('ann', { plan: 'pro' })], later)
  expect(again).toMatchObject({ properties: { plan: 'pro' }, createdAt: later })
})
