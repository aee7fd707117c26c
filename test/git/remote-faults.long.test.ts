import { randomBytes } from 'node:crypto'
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { messageOf, RetryableFailure } from '../../src/errors.ts'
import { RemoteRepository } from '../../src/git/remote.ts'
import type { RemoteLimits } from '../../src/git/remote.ts'
import type { Revision } from '../../src/ids.ts'
import { parseRemoteAddress } from '../../src/remote-address.ts'
import { fsck, serveRepository } from '../support/git-server.ts'
import type { GitServer, GitStep, ServedRepository, Trouble } from '../support/git-server.ts'
import { temporaryDirectory } from '../support/repository.ts'

const WHOLE = { idleMs: 10_000, totalMs: 10_000, bytesMax: 10_000_000 }
/** Short enough for a test; what is tested is that there is an end. */
const SHORT = { ...WHOLE, idleMs: 150, totalMs: 600 }

let directory = ''
let served: ServedRepository
let server: GitServer

beforeEach(async () => {
  directory = await temporaryDirectory()
  served = await serveRepository({
    'workflows/welcome/workflow.yaml': 'name: Welcome\n',
    'workflows/welcome/image.bin': randomBytes(4000),
  })
  server = served.server
})

afterEach(async () => {
  await served[Symbol.asyncDispose]()
  await rm(directory, { recursive: true, force: true })
})

function open(limits: Partial<RemoteLimits> = {}): Promise<RemoteRepository> {
  return RemoteRepository.open({ address: parseRemoteAddress(server.url, {}), directory, limits })
}

function line(text: Buffer): Buffer {
  return Buffer.concat([Buffer.from((text.length + 4).toString(16).padStart(4, '0')), text])
}

function troubleAt(step: GitStep, trouble: Trouble): void {
  server.trouble = (request) => (request.step === step ? trouble : undefined)
}

/** What a look reads of a tip, or why it cannot be had. */
async function look(remote: RemoteRepository): Promise<string> {
  try {
    const tip = await (await remote.refs()).tip('main')
    const tree = await remote.tree(tip as Revision)
    const files = await tree.list('welcome')
    await tree.read(files.map(({ blob }) => blob))
    return tip ?? 'absent'
  } catch (error) {
    if (!(error instanceof RetryableFailure)) throw error
    return error.message.includes(server.url) ? 'failed' : error.message
  }
}

describe('a pack that is cut', () => {
  test.each(['cut', 'short', 'stall'] as const)(
    'at any byte (%s) leaves the mirror whole and names no commit that is not there',
    async (kind) => {
      await using remote = await open({
        fetch: { ...WHOLE, idleMs: kind === 'stall' ? 100 : 5_000 },
      })
      const first = await look(remote)
      server.forget()
      const tip = await served.push({ 'workflows/welcome/image.bin': randomBytes(4000) })
      expect(first).not.toBe(tip)
      const places = 30
      const length = 4300
      for (let place = 0; place < places; place += 1) {
        troubleAt('fetch', { kind, bytes: Math.floor((length * place) / places) })
        expect(await look(remote)).toBe('failed')
        // What was live before stays readable.
        expect(await (await remote.tree(first as Revision)).list('welcome')).toHaveLength(2)
      }
      expect(server.requests.at(-1)?.sent).toBeGreaterThan(4000)
      expect(await fsck(remote.location.gitDir)).toBe('')
      server.trouble = () => undefined
      await expect.poll(() => look(remote), { timeout: 10_000 }).toBe(tip)
      expect(await fsck(remote.location.gitDir)).toBe('')
      const { gitDir } = remote.location
      expect(await readdir(join(gitDir, 'incoming'))).toEqual([])
    },
  )

  test('at the first look ever is had again', async () => {
    await using remote = await open()
    for (const bytes of [0, 4, 100, 3000]) {
      troubleAt('fetch', { kind: 'cut', bytes })
      expect(await look(remote)).toBe('failed')
    }
    server.trouble = () => undefined
    expect(await look(remote)).toBe(await served.work.tip('main'))
  })

  test('by our own disk is told with its place, and with what to do', async () => {
    await using remote = await open()
    const first = await look(remote)
    const incoming = join(remote.location.gitDir, 'incoming')
    await rm(incoming, { recursive: true })
    await writeFile(incoming, 'in the way')
    const tip = await served.push({ 'workflows/welcome/image.bin': randomBytes(4000) })
    const failure: unknown = await remote.refs().catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(RetryableFailure)
    expect(messageOf(failure)).toContain(`the mirror in ${directory}`)
    expect(messageOf(failure)).toContain('BELFRY_DATA_DIR')
    expect(await (await remote.tree(first as Revision)).list('welcome')).toHaveLength(2)
    await rm(incoming)
    await mkdir(incoming)
    expect(await look(remote)).toBe(tip)
  })

  test('with nothing in it is no reason to move a ref', async () => {
    const empty = Buffer.from(
      '5041434b0000000200000000029d08823bd8a8eab510ad6ac75c823cfd3ed31e',
      'hex',
    )
    await using remote = await open()
    troubleAt('fetch', {
      kind: 'body',
      body: Buffer.concat([
        line(Buffer.from('packfile\n')),
        line(Buffer.concat([Buffer.from([1]), empty])),
        Buffer.from('0000'),
      ]),
    })
    await expect(remote.refs()).rejects.toThrow('did not send all of it')
    server.trouble = () => undefined
    expect(await look(remote)).toBe(await served.work.tip('main'))
  })

  test('is not longer than it may be', async () => {
    await using remote = await open({ fetch: { ...WHOLE, bytesMax: 2000 } })
    await expect(remote.refs()).rejects.toThrow('more than 2000 bytes')
    const packs = join(remote.location.gitDir, 'objects', 'pack')
    expect(await readdir(packs)).toEqual([])
  })
})

describe('a list of refs that is cut', () => {
  test.each(['advertise', 'list'] as const)(
    '(%s) says nothing about what it lacks',
    async (step) => {
      await using remote = await open()
      await look(remote)
      for (const bytes of [0, 3, 4, 40, 90]) {
        for (const kind of ['cut', 'short'] as const) {
          troubleAt(step, { kind, bytes })
          expect(await look(remote)).toBe('failed')
        }
      }
    },
  )

  test('or is no list at all is told', async () => {
    await using remote = await open()
    troubleAt('advertise', { kind: 'body', body: Buffer.from('<html>Sign in</html>') })
    await expect(remote.refs()).rejects.toThrow(RetryableFailure)
    troubleAt('list', { kind: 'body', body: Buffer.from('0014ERR no such luck0000') })
    await expect(remote.refs()).rejects.toThrow(`${server.url}: the remote says: no such luck`)
  })
})

const STEPS: readonly GitStep[] = ['advertise', 'list', 'fetch']
const ENDLESS: readonly Trouble[] = [
  { kind: 'silence' },
  { kind: 'headers_only' },
  { kind: 'stall', bytes: 60 },
  { kind: 'drip', pauseMs: 60 },
]

describe.each(STEPS)('a remote that never finishes its answer (%s)', (step) => {
  test.each(ENDLESS)('as $kind is given up after a while', async (trouble) => {
    await using remote = await open({ list: SHORT, fetch: SHORT })
    troubleAt(step, trouble)
    const started = performance.now()
    await expect(remote.refs()).rejects.toThrow(/said nothing for|did not finish its answer/)
    expect(performance.now() - started).toBeLessThan(5000)
    server.trouble = () => undefined
    const tip = await served.work.tip('main')
    await expect.poll(() => look(remote), { timeout: 10_000 }).toBe(tip)
  })
})

describe('a remote that is slow', () => {
  test('is read on beside, and counts once it has answered', async () => {
    await using remote = await open({ patienceMs: 100 })
    const gate = Promise.withResolvers<void>()
    troubleAt('fetch', { kind: 'hold', until: gate.promise })
    await expect(remote.refs()).rejects.toThrow('still being read')
    await expect(remote.refs()).rejects.toThrow('still being read')
    const asked = Promise.withResolvers<void>()
    const watching = remote.watch({ pollMs: 3_600_000, onChange: () => asked.resolve() })
    await watching.start()
    gate.resolve()
    await asked.promise
    const tip = await served.work.tip('main')
    await expect.poll(() => look(remote), { timeout: 10_000 }).toBe(tip)
    expect(server.count('fetch')).toBe(1)
    await watching.close()
  })

  test('holds back none of what is there already', async () => {
    await using remote = await open({ patienceMs: 50 })
    const gate = Promise.withResolvers<void>()
    const first = await served.work.tip('main')
    await expect.poll(() => look(remote), { timeout: 10_000 }).toBe(first)
    troubleAt('advertise', { kind: 'hold', until: gate.promise })
    await expect(remote.refs()).rejects.toThrow('still being read')
    expect(await (await remote.tree(first as Revision)).list('welcome')).toHaveLength(2)
    expect(await (await remote.knownRefs()).tip('main')).toBe(first)
    gate.resolve()
  })
})
