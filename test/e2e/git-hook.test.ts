import { cp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { cloneBlank, test } from '../support/database.ts'
import { call, flowFiles, flowRepository } from '../support/flow.ts'
import { startHttp } from '../support/http.ts'
import { bareClone } from '../support/repository.ts'
import { openFleet } from '../support/served.ts'
import { deliver, github, SECRET, type Delivery } from '../api/hooks/deliveries.ts'

/** What a process looks by itself: never, as far as a test is concerned. */
const SLEEPY = { BELFRY_POLL_SECONDS: '86400', BELFRY_WEBHOOK_SECRETS: `the-last-one,${SECRET}` }

function post(url: string, { headers, body }: Delivery): Promise<Response> {
  return fetch(`${url}/hooks/git/github`, { method: 'POST', headers, body })
}

/** Puts a copy in the place of what is watched, as a restored backup does: the watch sees nothing from then on. */
async function blind(repository: string): Promise<void> {
  await cp(join(repository, 'refs'), join(repository, 'refs.new'), { recursive: true })
  await rename(join(repository, 'refs'), join(repository, 'refs.old'))
  await rename(join(repository, 'refs.new'), join(repository, 'refs'))
}

/** The script of `docs/spec/git-webhooks.md`, with the address and the secret of this test. */
async function installPostReceive(repository: string, url: string): Promise<void> {
  const page = await readFile(join(import.meta.dirname, '../../docs/spec/git-webhooks.md'), 'utf8')
  const script = /```sh\n(#!.*?)```/s.exec(page)?.[1] ?? ''
  const text = script
    .replace('https://belfry.example.com', url)
    .replace('$(cat /etc/belfry/webhook-secret)', SECRET)
  await writeFile(join(repository, 'hooks/post-receive'), text, { mode: 0o755 })
}

test('a push to a repository that is not watched is live at once with a webhook, taken by any process', async () => {
  const clone = await cloneBlank()
  await using stack = new AsyncDisposableStack()
  stack.defer(() => clone.drop())
  await using target = await startHttp()
  await using made = await flowRepository(target.url)
  await using bare = await bareClone(made)
  await using fleet = openFleet()
  const options = { repo: bare.path, databaseUrl: clone.database.url }
  const leader = await fleet.serve({ ...options, env: SLEEPY })
  const doorway = await fleet.serve({ ...options, env: { ...SLEEPY, BELFRY_ROLES: 'api' } })
  const revision = async () =>
    (await call(doorway.url, { path: '/v1/workflows/slow' })).body['revision']
  await expect.poll(revision, { timeout: 10_000 }).toBe(await bare.tip('main'))
  await blind(bare.path)

  for (const { url } of [doorway, leader]) {
    const next = await made.commit(flowFiles(target.url, url === leader.url ? '3s' : '2s'))
    await made.git('push', '--quiet', bare.path, 'main')
    const before = await revision()
    expect(before).not.toBe(next)
    const reply = await post(url, deliver(github, github.push('main', next)))
    expect(reply.status).toBe(202)
    expect(await reply.json()).toMatchObject({ matched: ['production'], queued: true })
    await expect.poll(revision, { timeout: 2_000, interval: 10 }).toBe(next)
  }

  // As the documentation has it, on a server that only has Git.
  await installPostReceive(bare.path, doorway.url)
  const received = await made.commit(flowFiles(target.url, '5s'))
  await made.git('push', '--quiet', bare.path, 'main')
  await expect.poll(revision, { timeout: 2_000, interval: 10 }).toBe(received)
  await rm(join(bare.path, 'hooks/post-receive'))

  // One that comes before its commit can be seen.
  const early = await made.commit(flowFiles(target.url, '4s'))
  await post(doorway.url, deliver(github, github.push('main', early)))
  await made.git('push', '--quiet', bare.path, 'main')
  await expect.poll(revision, { timeout: 5_000, interval: 10 }).toBe(early)
  expect(`${leader.log()}${doorway.log()}`).not.toContain(SECRET)
}, 60_000)
