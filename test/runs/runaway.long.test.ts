import { monitorEventLoopDelay } from 'node:perf_hooks'
import { expect } from 'vitest'
import { startLoop } from '../../src/db/loop.ts'
import { sql } from '../../src/db/sql.ts'
import { newId, type ProcessId } from '../../src/ids.ts'
import { silentLog } from '../../src/log.ts'
import { beat, BEAT_MS, listDeadProcesses } from '../../src/messages/leases.ts'
import { test } from '../support/database.ts'
import { openEngine } from '../support/engine.ts'

/** Within all bounds of its work when its time is over. */
const ENDLESS = '{{#each data.many}}{{number this locale=(concat "de-u-x-" this)}}{{/each}}'
const RECIPIENTS = 4

test(
  'templates that do not come to an end fail their own runs, and the process goes on beside them',
  { timeout: 60_000 },
  async ({ database }) => {
    await using engine = await openEngine(database)
    const steps = `name: W\nsteps:\n  - { ref: feed, type: in_app, body: { file: body.md.hbs } }\n`
    await engine.commit({
      'workflows/hello/workflow.yaml': steps,
      'workflows/hello/body.md.hbs': ENDLESS,
    })
    const recipients = Array.from({ length: RECIPIENTS }, (_, index) => ({ id: `u-${index}` }))
    const data = { many: Array.from({ length: 90_000 }, (_, index) => index) }
    await engine.trigger('hello', { recipients, data })
    const process = newId<ProcessId>()
    await beat(database, process)
    const dead: ProcessId[] = []
    const beats = startLoop(
      async () => {
        dead.push(...(await listDeadProcesses(database)).filter((one) => one === process))
        await beat(database, process)
        return false
      },
      { log: silentLog, name: 'beat', pollMs: BEAT_MS },
    )
    const delay = monitorEventLoopDelay({ resolution: 10 })
    delay.enable()
    await engine.queue.drain()
    delay.disable()
    await beats.close()
    expect(dead).toEqual([])
    expect(delay.max / 1e6).toBeLessThan(3_000)
    const ended = await database.query(sql`
      select outcome, count(*)::integer as count from runs
      where environment = 'production' group by outcome
    `)
    expect(ended).toEqual([{ outcome: 'failed', count: RECIPIENTS }])
  },
)
