import { createHash } from 'node:crypto'
import { RetryableFailure } from '../errors.ts'
import type { Revision } from '../ids.ts'
import type { Commit } from './history.ts'
import { messageOfCommit } from './message.ts'
import { TREE_MODE } from './source.ts'

/** One line of a tree object. */
export interface TreeEntry {
  readonly name: string
  readonly mode: string
  readonly id: string
}

/** What Git stores. */
export type ObjectType = 'blob' | 'commit' | 'tag' | 'tree'

export interface StoredObject {
  readonly type: ObjectType
  readonly content: Buffer
}

const ID_BYTES = 20

/**
 * Parses the raw bytes of a tree object. Four times as fast as the library's own parser, which
 * matters for a `workflows/` of 10,000 directories.
 */
export function parseTree(bytes: Uint8Array): TreeEntry[] {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const entries: TreeEntry[] = []
  for (let at = 0; at < buffer.length;) {
    const space = buffer.indexOf(0x20, at)
    const end = buffer.indexOf(0, space)
    if (space < 0 || end < 0 || end + 1 + ID_BYTES > buffer.length) {
      throw new RetryableFailure('it is cut short')
    }
    entries.push({
      mode: buffer.toString('latin1', at, space),
      name: buffer.toString('utf8', space + 1, end),
      id: buffer.toString('hex', end + 1, end + 1 + ID_BYTES),
    })
    at = end + 1 + ID_BYTES
  }
  return entries
}

/** Reads the raw bytes of a commit object. */
export function parseCommit(id: Revision, bytes: Uint8Array): Commit {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const end = buffer.indexOf('\n\n')
  const headers = buffer.toString('latin1', 0, end < 0 ? buffer.length : end + 1)
  const tree = /^tree ([0-9a-f]{40})\n/.exec(headers)?.[1]
  if (!tree) throw new RetryableFailure('it names no tree')
  const parents = headers.matchAll(/^parent ([0-9a-f]{40})$/gm)
  const committer = /^committer .*> (-?\d+) [+-]\d+$/m.exec(headers)
  return {
    id,
    tree,
    parents: Array.from(parents, ([, parent]) => parent as Revision),
    committedAt: Number(committer?.[1] ?? 0),
    message: messageOfCommit(bytes),
    bytes,
  }
}

/** The id that Git gives to this content. */
export function blobId(content: Uint8Array): string {
  return objectId('blob', content)
}

/** The id that Git gives to a tree of these entries, whatever their order here. */
export function treeId(entries: readonly TreeEntry[]): string {
  const sorted = entries.map((entry) => ({ entry, key: sortKey(entry) })).toSorted(byKey)
  const lines = sorted.map(({ entry: { mode, name, id } }) => ({ head: `${mode} ${name}\0`, id }))
  const sizes = lines.map(({ head }) => Buffer.byteLength(head) + ID_BYTES)
  const bytes = Buffer.allocUnsafe(sizes.reduce((sum, size) => sum + size, 0))
  let end = 0
  for (const { head, id } of lines) {
    end += bytes.write(head, end)
    end += bytes.write(id, end, 'hex')
  }
  return objectId('tree', bytes)
}

interface SortKey {
  readonly key: string
}

/** Git sorts a directory as if its name ended in a slash. */
function sortKey({ mode, name }: TreeEntry): string {
  return mode === TREE_MODE ? `${name}/` : name
}

const SURROGATE = /[\ud800-\udfff]/

/** Git sorts by bytes; strings sort in the same way, but for characters outside the basic plane. */
function byKey({ key: one }: SortKey, { key: other }: SortKey): number {
  if (SURROGATE.test(one) || SURROGATE.test(other)) {
    return Buffer.compare(Buffer.from(one), Buffer.from(other))
  }
  if (one === other) return 0
  return one < other ? -1 : 1
}

/** The id that Git gives to an object of this type and content. */
export function objectId(type: ObjectType, content: Uint8Array): string {
  return createHash('sha1').update(`${type} ${content.byteLength}\0`).update(content).digest('hex')
}
