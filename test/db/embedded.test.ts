import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { Client } from 'pg'
import { describe, expect, onTestFinished, test } from 'vitest'
import { startEmbedded, type EmbeddedServer } from '../../src/db/embedded.ts'
import { ConfigError } from '../../src/errors.ts'

const FAST = { settings: { fsync: 'off' } }
const PROCESS = path.join(import.meta.dirname, '../support/hold-server.ts')
const isRoot = process.getuid?.() === 0

/** A data directory under one that nobody else can enter. What root keeps elsewhere is removed with it. */
function dataDirectory(): string {
  const parent = fs.mkdtempSync(path.join(os.tmpdir(), 'belfry-data-'))
  onTestFinished(() => fs.rmSync(parent, { recursive: true, force: true }))
  return path.join(parent, 'data')
}

async function start(directory: string): Promise<EmbeddedServer> {
  const server = await startEmbedded(directory, FAST)
  onTestFinished(async () => {
    await server.stop()
    const elsewhere = path.dirname(filesOf(server))
    if (isRoot && elsewhere.startsWith('/var/lib/belfry/')) {
      fs.rmSync(elsewhere, { recursive: true, force: true })
    }
  })
  return server
}

/** The directory of the server's files, by its address. */
function filesOf({ url }: Pick<EmbeddedServer, 'url'>): string {
  return path.dirname(socketOf(url))
}

function socketOf(url: string): string {
  return decodeURIComponent(url.split('?host=')[1] ?? '')
}

async function startProcess(directory: string): Promise<{ child: ChildProcess; url: string }> {
  const child = spawn(process.execPath, [PROCESS, directory], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  return { child, url: line.toString().trim() }
}

async function ask<Row>(url: string, text: string): Promise<Row[]> {
  const client = new Client(url)
  await client.connect()
  try {
    const { rows } = await client.query(text)
    return rows as Row[]
  } finally {
    await client.end()
  }
}

async function startedAt(url: string): Promise<string | undefined> {
  const [row] = await ask<{ at: string }>(url, 'select pg_postmaster_start_time()::text as at')
  return row?.at
}

async function isRunning(url: string): Promise<boolean> {
  return ask(url, 'select 1').then(
    () => true,
    () => false,
  )
}

// Several servers are made from nothing, which takes a while on a busy machine.
describe('startEmbedded', { timeout: 60_000 }, () => {
  test('keeps two data directories apart, in directories closed to others', async () => {
    const [one, other] = await Promise.all([start(dataDirectory()), start(dataDirectory())])
    await ask(one.url, 'create table mine (id integer)')
    expect(await ask(one.url, `select to_regclass('mine') is null as absent`)).toEqual([
      { absent: false },
    ])
    expect(await ask(other.url, `select to_regclass('mine') is null as absent`)).toEqual([
      { absent: true },
    ])
    expect(filesOf(one).startsWith('/var/lib/belfry/')).toBe(isRoot)
  })

  test('listens only on a private socket, and asks for a password', async () => {
    const server = await start(dataDirectory())
    const socket = socketOf(server.url)
    expect(fs.statSync(socket).mode & 0o777).toBe(0o700)
    expect(await ask(server.url, 'show listen_addresses')).toEqual([{ listen_addresses: '' }])
    const withoutPassword = server.url.replace(/:[0-9a-f]+@/, '@')
    await expect(ask(withoutPassword, 'select 1')).rejects.toThrow(/password/)
    expect(fs.statSync(path.join(filesOf(server), 'server/password')).mode & 0o777).toBe(0o600)
  })

  test('runs one server for many that start at once, until the last one lets go', async () => {
    const directory = dataDirectory()
    const [first, second, own] = await Promise.all([
      startProcess(directory),
      startProcess(directory),
      start(directory),
    ])
    expect(first.url).toBe(own.url)
    expect(second.url).toBe(own.url)
    expect(await own.isAlone()).toBe(false)
    for (const { child } of [first, second]) {
      child.stdin?.end()
      await once(child, 'exit')
    }
    expect(await own.isAlone()).toBe(true)
    expect(await isRunning(own.url)).toBe(true)
    expect(await own.stop()).toBe(true)
    expect(await isRunning(own.url)).toBe(false)
  })

  test('takes over the server of a process that was killed', async () => {
    const directory = dataDirectory()
    const { child, url } = await startProcess(directory)
    const before = await startedAt(url)
    child.kill('SIGKILL')
    await once(child, 'exit')
    const server = await start(directory)
    expect(await startedAt(server.url)).toBe(before)
    expect(await server.stop()).toBe(true)
  })

  test('starts again over what a killed server left, whatever its process id is now', async () => {
    const directory = dataDirectory()
    const server = await start(directory)
    await ask(server.url, 'create table kept (id integer)')
    await server.stop()
    const data = path.join(filesOf(server), 'server/data')
    const { uid, gid } = fs.statSync(data)
    const stranger = spawn('sleep', ['60'], { uid, gid, cwd: '/' })
    onTestFinished(() => void stranger.kill())
    const lock = `${stranger.pid}\n${data}\n1700000000\n5432\n${socketOf(server.url)}\n\n`
    fs.writeFileSync(path.join(data, 'postmaster.pid'), lock)
    fs.chownSync(path.join(data, 'postmaster.pid'), uid, gid)
    const again = await start(directory)
    expect(await ask(again.url, 'select id from kept')).toEqual([])
  })

  test('keeps holding the server when its connections are cut', async () => {
    const directory = dataDirectory()
    const own = await start(directory)
    const { child } = await startProcess(directory)
    await ask(
      own.adminUrl,
      `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'belfry-keeper'`,
    )
    // Both join again by themselves; the second one to leave stops the server.
    await expect.poll(() => own.isAlone().catch(() => true)).toBe(false)
    expect(await own.stop()).toBe(false)
    expect(await isRunning(own.url)).toBe(true)
    child.stdin?.end()
    await once(child, 'exit')
    expect(await isRunning(own.url)).toBe(false)
  })

  test('refuses a socket directory that others can enter', async () => {
    const directory = dataDirectory()
    const server = await start(directory)
    await server.stop()
    fs.chmodSync(socketOf(server.url), 0o755)
    await expect(startEmbedded(directory, FAST)).rejects.toThrow(ConfigError)
  })

  test('starts empty in a data directory that was made anew', async () => {
    const directory = dataDirectory()
    const before = await start(directory)
    await ask(before.url, 'create table old (id integer)')
    await before.stop()
    fs.rmSync(directory, { recursive: true })
    const after = await start(directory)
    expect(await ask(after.url, `select to_regclass('old') is null as absent`)).toEqual([
      { absent: true },
    ])
  })
})
