import { execFile, execFileSync, spawn, type ChildProcess } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'

// The program as a person runs it: real processes, its own Postgres, the shipped workflows.

const ROOT = path.resolve(import.meta.dirname, '../..')
const PATH = `${path.dirname(process.execPath)}:${process.env['PATH'] ?? ''}`
const shell = promisify(execFile)
let directory = ''
let dataDir = ''

interface Served {
  readonly child: ChildProcess
  readonly url: string
  readonly key: string
  readonly publicKey: string
  readonly commands: readonly string[]
  /** Resolves with the exit code. */
  readonly ended: Promise<number | null>
  error(): string
}

/** Starts `belfry serve` and waits until it has said where it is. */
async function start(options: readonly string[] = []): Promise<Served> {
  const repo = path.join(directory, 'repo')
  const argv = ['src/main.ts', 'serve', '--dev', '--repo', repo, '--data-dir', dataDir, ...options]
  const child = spawn(process.execPath, argv, { cwd: ROOT, env: environment() })
  let out = ''
  let error = ''
  child.stderr.on('data', (chunk: Buffer) => (error += String(chunk)))
  const ended = new Promise<number | null>((resolve) => child.on('exit', resolve))
  const greeting = new Promise<string>((resolve) => {
    child.stdout.on('data', (chunk: Buffer) => {
      out += String(chunk)
      if (out.includes('messages --recipient')) resolve(out)
    })
    void ended.then(() => resolve(out))
  })
  const text = await greeting
  const word = (name: string) => new RegExp(`^${name} +(\\S+)$`, 'm').exec(text)?.[1] ?? ''
  const commands = text.split('\n').flatMap((line) => (line.startsWith('  ') ? [line.trim()] : []))
  const [key, publicKey] = [word('key'), word('public key')]
  return { child, url: word('URL'), key, publicKey, commands, ended, error: () => error }
}

/** The surroundings of the test, without settings of Belfry. */
function environment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(BELFRY_|DATABASE_URL$|PORT$|VITEST)/.test(name),
  )
  return { ...Object.fromEntries(kept), PATH, NO_COLOR: '1' }
}

/** Runs a command as it was printed. */
async function paste(command: string): Promise<string> {
  const { stdout } = await shell('sh', ['-c', command], { cwd: ROOT, env: environment() })
  return stdout
}

async function stop({ child, ended }: Served): Promise<{ code: number | null; ms: number }> {
  const from = performance.now()
  child.kill('SIGTERM')
  return { code: await ended, ms: performance.now() - from }
}

beforeAll(() => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), 'belfry-start-'))
  // Open to the server's account, so that its files, and with them its command line, are in here.
  fs.chmodSync(directory, 0o755)
  dataDir = path.join(directory, 'data')
  const repo = path.join(directory, 'repo')
  for (const name of ['workflows', 'environments'])
    fs.cpSync(path.join(ROOT, name), path.join(repo, name), { recursive: true })
  execFileSync('git', ['init', '--quiet', '--initial-branch', 'main', repo])
})

afterAll(() => fs.rmSync(directory, { recursive: true, force: true }))

test('serve prints what to try, it works as printed, and a signal stops all of it', async () => {
  const served = await start()
  expect(served.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
  expect(served.key).toMatch(/^sk_development_/)
  expect(served.commands).toHaveLength(2)
  const [trigger = '', show = ''] = served.commands
  expect(await paste(trigger)).toMatch(/^workflow run [0-9a-f-]{36}\n$/)
  await expect.poll(() => paste(show), { timeout: 10_000, interval: 200 }).toContain('welcome/feed')
  expect((await fetch(`${served.url}/readyz`)).status).toBe(200)

  const feed = await fetch(`${served.url}/v1/users/ada/feeds/feed`, {
    headers: { authorization: `Bearer ${served.publicKey}`, origin: 'http://localhost:3000' },
  })
  expect(await feed.json()).toMatchObject({ meta: { total_count: 1 } })
  expect(feed.headers.get('access-control-allow-origin')).toBe('http://localhost:3000')

  const running = execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' })
  expect(running).toContain(`${dataDir}/postgres`)

  const second = await start()
  expect(second.url).not.toBe(served.url)
  expect([second.key, second.publicKey]).toEqual([served.key, served.publicKey])
  const reply = await fetch(`${second.url}/v1/messages`, {
    headers: { authorization: `Bearer ${served.key}` },
  })
  expect(await reply.json()).toMatchObject({ items: expect.arrayContaining([expect.anything()]) })

  const port = new URL(served.url).port
  const third = await start(['--port', port])
  expect(await third.ended).toBe(2)
  expect(third.error()).toContain(`port ${port} on 127.0.0.1 is taken`)

  const first = await stop(served)
  expect(first.code).toBe(0)
  expect(first.ms).toBeLessThan(5_000)
  // The second one goes on, with the server that the first one started.
  expect(await paste(show)).toContain('welcome/feed')
  expect((await stop(second)).code).toBe(0)
  const left = execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' })
  expect(left).not.toContain(dataDir)
}, 90_000)
