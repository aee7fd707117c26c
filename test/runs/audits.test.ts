import { expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { sweepSwitchEvents } from '../../src/messages/switches.ts'
import { sweepCancellations } from '../../src/runs/cancel.ts'
import { sweepRunActions, wakeRun } from '../../src/runs/operate.ts'
import type { Engine } from '../support/engine.ts'
import { MINUTE_MS, cancelOne, environment, send, test } from './batch-scene.ts'

const DAY_MS = 24 * 60 * MINUTE_MS

/** How many of each are deleted so many days from now, where runs are kept for `kept` days. */
async function swept({ database, clock }: Engine, days: number, kept = 30) {
  const then = new Date(clock.now().getTime() + days * DAY_MS)
  return {
    cancels: await sweepCancellations(database, then, kept),
    actions: await sweepRunActions(database, then, kept),
    switches: await sweepSwitchEvents(database, then, kept),
  }
}

test('who did what is kept for a year, and who cancelled as long as what that ended', async ({
  engine,
}) => {
  await engine.commit({
    'workflows/hello/workflow.yaml': 'name: W\nsteps: [{ ref: rest, type: delay, for: 1h }]\n',
  })
  await send(engine)
  const [run] = await engine.runs()
  const now = engine.clock.now()
  const call = { environment, id: run!.id, requestedBy: 'me', now }
  await engine.database.transaction((tx) => wakeRun(tx, engine.queue, call))
  await cancelOne(engine, run!.id)
  await engine.switchTo(false, 'hello')
  const none = { cancels: 0, actions: 0, switches: 0 }
  expect(await swept(engine, 30)).toEqual(none)
  expect(await swept(engine, 31)).toEqual({ ...none, cancels: 1 })
  expect(await swept(engine, 365)).toEqual(none)
  // Not before the runs that it was done to.
  expect(await swept(engine, 366, 400)).toEqual(none)
  expect(await swept(engine, 366)).toEqual({ ...none, actions: 1, switches: 1 })
  const standing = await engine.database.query(sql`
    select active, actor from switches where environment = ${environment}`)
  expect(standing).toMatchObject([{ active: false }])
})
