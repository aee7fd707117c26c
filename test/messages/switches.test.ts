import { beforeEach, expect } from 'vitest'
import {
  loadSwitches,
  listSwitchEvents,
  listSwitches,
  setSwitch,
} from '../../src/messages/switches.ts'
import { test } from '../support/database.ts'
import { clear, production, saveEnvironment, startOfTest as now } from './builders.ts'

const off = {
  environment: production,
  active: false,
  reason: 'incident',
  actor: 'operator',
  expiresAt: null,
  now,
}
const later = new Date(now.getTime() + 60_000)

beforeEach<{ database: Parameters<typeof clear>[0] }>(async ({ database }) => {
  await clear(database)
  await saveEnvironment(database, {})
})

test('a workflow, one of its channels, and all sending are switched off by themselves', async ({
  database,
}) => {
  await database.transaction((tx) => setSwitch(tx, { ...off, workflow: 'welcome', channel: '' }))
  await database.transaction((tx) =>
    setSwitch(tx, { ...off, workflow: 'digest', channel: 'email' }),
  )
  const lookup = await loadSwitches(database, production, ['welcome', 'digest', 'other'], now)
  expect(lookup.workflow('welcome')).toEqual({ active: false, reason: 'incident' })
  expect(lookup.sending('welcome', 'feed').active).toBe(false)
  expect(lookup.workflow('digest').active).toBe(true)
  expect(lookup.sending('digest', 'email').active).toBe(false)
  expect(lookup.sending('digest', 'feed').active).toBe(true)
  expect(lookup.sending('other', 'email').active).toBe(true)
  await database.transaction((tx) => setSwitch(tx, { ...off, workflow: '', channel: '' }))
  const all = await loadSwitches(database, production, ['other'], now)
  expect(all.sending('other', 'email')).toEqual({ active: false, reason: 'incident' })
  expect(all.workflow('other')).toEqual({ active: true })
})

test('a switch whose time is over counts as on', async ({ database }) => {
  await database.transaction((tx) =>
    setSwitch(tx, { ...off, workflow: 'welcome', channel: '', expiresAt: later }),
  )
  expect(
    (await loadSwitches(database, production, ['welcome'], now)).workflow('welcome').active,
  ).toBe(false)
  expect(
    (await loadSwitches(database, production, ['welcome'], later)).workflow('welcome').active,
  ).toBe(true)
  expect(await listSwitches(database, production, now)).toHaveLength(1)
  expect(await listSwitches(database, production, later)).toHaveLength(0)
})

test('each turn is written down with who and why', async ({ database }) => {
  await database.transaction((tx) => setSwitch(tx, { ...off, workflow: 'welcome', channel: '' }))
  await database.transaction((tx) =>
    setSwitch(tx, {
      ...off,
      workflow: 'welcome',
      channel: '',
      active: true,
      reason: 'mended',
      now: later,
    }),
  )
  const lookup = await loadSwitches(database, production, ['welcome'], later)
  expect(lookup.workflow('welcome')).toEqual({ active: true })
  const events = await listSwitchEvents(database, production, 'welcome')
  expect(events).toMatchObject([
    { workflow: 'welcome', active: true, reason: 'mended', actor: 'operator', insertedAt: later },
    { workflow: 'welcome', active: false, reason: 'incident', actor: 'operator', insertedAt: now },
  ])
  expect(await listSwitchEvents(database, production, 'other')).toEqual([])
})

test('a turn that is rolled back leaves nothing', async ({ database }) => {
  const turning = database.transaction(async (tx) => {
    await setSwitch(tx, { ...off, workflow: 'welcome', channel: '' })
    throw new Error('no')
  })
  await expect(turning).rejects.toThrow('no')
  expect(
    (await loadSwitches(database, production, ['welcome'], now)).workflow('welcome').active,
  ).toBe(true)
  expect(await listSwitchEvents(database, production)).toEqual([])
})
