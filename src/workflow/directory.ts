import { createHash } from 'node:crypto'
import { lstat, readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { ConfigError, messageOf } from '../errors.ts'
import type { Entry } from './draft.ts'
import { ENVIRONMENTS } from './environment-file.ts'
import { WORKFLOWS } from './paths.ts'

/** How many bytes of a file are looked at: more than any file may have. */
const READ_BYTES_MAX = 16 * 1024 * 1024

/**
 * What stands on disk below `workflows/` and `environments/` of `root`, by path with forward
 * slashes. Links are listed and not followed. Throws a `ConfigError` where `root` cannot be read.
 */
export async function readDirectory(root: string): Promise<ReadonlyMap<string, Entry>> {
  await readdir(root).catch((error) => {
    throw new ConfigError(
      `${root} cannot be read (${messageOf(error)}): name the directory that holds workflows/ and environments/`,
    )
  })
  const found = new Map<string, Entry>()
  for (const name of [WORKFLOWS, ENVIRONMENTS]) await visit(root, name, found)
  return new Map([...found].toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

async function visit(root: string, path: string, found: Map<string, Entry>): Promise<void> {
  const full = join(root, path)
  const stats = await lstat(full).catch(() => undefined)
  if (stats === undefined) return
  if (stats.isSymbolicLink()) {
    found.set(path, { blob: '', mode: '120000', bytes: new Uint8Array() })
    return
  }
  if (stats.isDirectory()) {
    for (const name of await readdir(full)) {
      if (name !== '.git') await visit(root, `${path}/${name}`, found)
    }
    return
  }
  if (!stats.isFile()) return
  const bytes = stats.size > READ_BYTES_MAX ? new Uint8Array(stats.size) : await readFile(full)
  found.set(path, { blob: blobId(bytes), mode: '100644', bytes })
}

/** The object id that Git gives the content. */
function blobId(bytes: Uint8Array): string {
  return createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex')
}
