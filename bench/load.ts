import { execFile } from 'node:child_process'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { promisify } from 'node:util'
import Koa from 'koa'
import { milliseconds, times, type Figure } from './figures.ts'
import { isIdle, KEY, type Ground } from './ground.ts'
import type { Load } from './load-process.ts'

/**
 * Triggers a second that one process takes from clients that wait for their answers, and works on; beside it a bare
 * Koa server in the same process, which reads the same body and keeps nothing.
 */
export async function measureLoad(ground: Ground): Promise<readonly Figure[]> {
  await using bare = await openBareServer()
  const route = '/v1/workflows/hello/trigger'
  const ours = await loadOf(`${ground.app.url}${route}`)
  while (!(await isIdle(ground.database))) await new Promise((done) => setTimeout(done, 10))
  const beside = await loadOf(`${bare.url}${route}`)
  return [
    {
      what: `triggers over HTTP with all clients busy, p99 ${milliseconds(ours.p99)}`,
      ours: `${Math.round(ours.rate)}/s`,
      beside: `${Math.round(beside.rate)}/s  bare Koa, p99 ${milliseconds(beside.p99)}`,
      ratio: times(ours.rate, beside.rate),
    },
  ]
}

/** In a process of its own, so that the clients take no time of the server's. */
async function loadOf(url: string): Promise<Load> {
  const program = path.join(import.meta.dirname, 'load-process.ts')
  const { stdout } = await promisify(execFile)(process.execPath, [program, url, KEY])
  return JSON.parse(stdout) as Load
}

async function openBareServer(): Promise<AsyncDisposable & { readonly url: string }> {
  const app = new Koa()
  app.use(async (ctx) => {
    let text = ''
    for await (const chunk of ctx.req.setEncoding('utf8')) text += chunk as string
    const { recipients } = JSON.parse(text) as { readonly recipients: readonly string[] }
    ctx.body = { workflow_run_id: recipients[0] }
  })
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
}
