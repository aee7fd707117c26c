import fs from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { call, flowRepository, names, trigger } from '../support/flow.ts'
import { startHttp } from '../support/http.ts'
import { openFleet } from '../support/served.ts'

for (const signal of ['SIGKILL', 'SIGQUIT', 'SIGINT'] as const) {
  test(`its own Postgres is started again when it ends by ${signal}`, async () => {
    await using hook = await startHttp()
    await using repository = await flowRepository(hook.url)
    await using fleet = openFleet()
    const dataDir = path.join(fleet.directory, 'data')
    const served = await fleet.serve({ repo: repository.path, dataDir })
    for (let index = 0; index < 4; index += 1) {
      await trigger(served.url, 'slow', names(`t${index}`, 60))
    }
    await expect
      .poll(() => hook.requests.length, { interval: 5, timeout: 10_000 })
      .toBeGreaterThan(20)
    const pidFile = path.join(dataDir, 'postgres/server/data/postmaster.pid')
    const pid = Number(fs.readFileSync(pidFile, 'utf8').split('\n', 1)[0])
    process.kill(pid, signal)
    const from = performance.now()
    const isReady = () => call(served.url, { path: '/readyz' }).then(({ status }) => status === 200)
    await expect.poll(isReady, { interval: 5, timeout: 10_000 }).toBe(false)
    await expect.poll(isReady, { timeout: 15_000 }).toBe(true)
    const backMs = Math.round(performance.now() - from)
    await trigger(served.url, 'direct', ['later'])
    const seen = () => new Set(hook.requests.map((request) => request.path)).size
    await expect.poll(seen, { timeout: 20_000 }).toBe(241)
    const doneMs = Math.round(performance.now() - from)
    console.log(`after ${signal}: ready again in ${backMs} ms, all done in ${doneMs} ms`)
    expect(await served.stop('SIGTERM')).toMatchObject({ code: 0 })
    expect(fs.existsSync(pidFile)).toBe(false)
    console.log(served.log())
  }, 60_000)
}
