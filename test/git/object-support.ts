import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import { promisify } from 'node:util'
import { deflateSync } from 'node:zlib'
import type { StoredObject } from '../../src/git/objects.ts'

const run = promisify(execFile)

/** Every object of a repository, as `git` reads it, by id. */
export async function objectsByGit(gitDir: string): Promise<ReadonlyMap<string, StoredObject>> {
  const child = spawn(
    'git',
    ['-C', gitDir, 'cat-file', '--batch-all-objects', '--unordered', '--batch', '--buffer'],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  const all = await buffer(child.stdout)
  const objects = new Map<string, StoredObject>()
  for (let at = 0; at < all.length;) {
    const end = all.indexOf('\n', at)
    const [id = '', type, size] = all.toString('latin1', at, end).split(' ')
    const content = all.subarray(end + 1, end + 1 + Number(size))
    objects.set(id, { type: type as StoredObject['type'], content })
    at = end + 1 + Number(size) + 1
  }
  return objects
}

/** One commit of a history that is made in one go. */
export interface MadeCommit {
  readonly files: Readonly<Record<string, string>>
  /** Ends the pack that it is in. */
  readonly isLastOfPack?: boolean
}

/** Makes a line of commits on `main` with `git fast-import`, all of them in one pack. */
export async function importHistory(gitDir: string, commits: Iterable<MadeCommit>): Promise<void> {
  const child = spawn(
    'git',
    ['-C', gitDir, '-c', 'fastimport.unpackLimit=1', 'fast-import', '--quiet'],
    {
      stdio: ['pipe', 'inherit', 'inherit'],
    },
  )
  let number = 0
  for (const { files, isLastOfPack = false } of commits) {
    const changes = Object.entries(files).map(
      ([path, text]) => `M 100644 inline ${path}\n${data(text)}`,
    )
    const parent = number === 0 ? await startingPoint(gitDir) : ''
    const head = `commit refs/heads/main\ncommitter Ada Example <ada@example.com> ${1_767_225_600 + number} +0000\n`
    const text = `${head}${data(`Commit ${number}\n`)}${parent}${changes.join('')}${isLastOfPack ? 'checkpoint\n' : ''}`
    if (!child.stdin.write(text)) await new Promise((resolve) => child.stdin.once('drain', resolve))
    number += 1
  }
  child.stdin.end()
  const code = await new Promise((resolve) => child.once('exit', resolve))
  if (code !== 0) throw new Error(`git fast-import ended with ${String(code)}`)
}

function data(text: string): string {
  return `data ${Buffer.byteLength(text)}\n${text}\n`
}

async function startingPoint(gitDir: string): Promise<string> {
  const tip = await run('git', [
    '-C',
    gitDir,
    'rev-parse',
    '--verify',
    '--quiet',
    'refs/heads/main',
  ])
    .then(({ stdout }) => stdout.trim())
    .catch(() => '')
  return tip === '' ? '' : `from ${tip}\n`
}

/** A pack of one blob that is kept as a difference to an object outside of it, and its index. Git makes none on disk. */
export function thinPack(base: string, delta: Buffer, id: string): { pack: Buffer; index: Buffer } {
  const head = Buffer.alloc(12)
  head.write('PACK', 0, 'latin1')
  head.writeUInt32BE(2, 4)
  head.writeUInt32BE(1, 8)
  if (delta.length > 15) throw new Error('one byte holds no longer size')
  const entry = [
    Buffer.from([(7 << 4) | delta.length]),
    Buffer.from(base, 'hex'),
    deflateSync(delta),
  ]
  const pack = sealed([head, ...entry])
  const fanOut = Buffer.alloc(1024)
  const first = Number.parseInt(id.slice(0, 2), 16)
  for (let at = first; at < 256; at += 1) fanOut.writeUInt32BE(1, at * 4)
  const offset = Buffer.from([0, 0, 0, 12])
  const magic = Buffer.from([0xff, 0x74, 0x4f, 0x63, 0, 0, 0, 2])
  const index = sealed([
    magic,
    fanOut,
    Buffer.from(id, 'hex'),
    Buffer.alloc(4),
    offset,
    pack.subarray(-20),
  ])
  return { pack, index }
}

function sealed(parts: readonly Buffer[]): Buffer {
  const bytes = Buffer.concat(parts)
  return Buffer.concat([bytes, createHash('sha1').update(bytes).digest()])
}
