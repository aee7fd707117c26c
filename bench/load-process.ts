// Clients that trigger a workflow for one recipient, again as soon as they are answered; says how many were, and how quickly.
import { Agent, request } from 'node:http'
import { perSecond, quantile } from './figures.ts'

export interface Load {
  /** Answers a second. */
  readonly rate: number
  /** Milliseconds. */
  readonly p99: number
}

const CLIENTS = 32
const WARM_UP_MS = 1_000
const MS = 5_000

const [url = '', key = ''] = process.argv.slice(2)
const agent = new Agent({ keepAlive: true, maxSockets: CLIENTS })
const times: number[] = []
const start = performance.now() + WARM_UP_MS
const end = start + MS

function call(): Promise<void> {
  const headers = {
    authorization: `Bearer ${key}`,
    'content-type': 'application/json',
    'idempotency-key': crypto.randomUUID(),
  }
  const body = JSON.stringify({ recipients: ['user-1'], data: { word: 'hi' } })
  return new Promise((resolve, reject) => {
    const sent = request(url, { method: 'POST', agent, headers }, (reply) => {
      reply.resume()
      reply.on('end', () => {
        if (reply.statusCode === 200) resolve()
        else reject(new Error(`${url} answered ${reply.statusCode}`))
      })
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

async function client(): Promise<void> {
  while (performance.now() < end) {
    const before = performance.now()
    await call()
    if (before > start) times.push(performance.now() - before)
  }
}

await Promise.all(Array.from({ length: CLIENTS }, client))
agent.destroy()
const load: Load = { rate: perSecond(times.length, MS), p99: quantile(times, 0.99) }
process.stdout.write(JSON.stringify(load))
