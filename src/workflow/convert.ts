import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  type Alias,
  type Node,
  type Pair,
  type YAMLMap,
} from 'yaml'
import type { Problem } from './diagnostic.ts'

/** How deep lists and maps of a file may lie in each other. */
export const NESTING_MAX = 64
/** How many values a file may have once every alias stands for what it names. */
export const VALUES_MAX = 20_000

const RESERVED_KEYS = new Set(['__proto__', 'constructor', 'prototype'])

/** A problem of a node, at its offset in the text. */
export interface NodeProblem extends Problem {
  readonly offset: number
}

/** Plain data made of a document's nodes, with what was wrong with them. */
export interface Converted {
  readonly value: unknown
  readonly problems: readonly NodeProblem[]
  /** The node that each alias stands for. */
  readonly targets: ReadonlyMap<Alias, Node>
}

interface Done {
  readonly value: unknown
  /** Values in it, aliases included. */
  readonly size: number
  /** Levels of lists and maps in it. */
  readonly height: number
}

interface Walk {
  readonly problems: NodeProblem[]
  readonly anchors: Map<string, Node>
  readonly targets: Map<Alias, Node>
  readonly done: Map<Node, Done>
}

const NOTHING: Done = { value: null, size: 1, height: 0 }

/**
 * Turns nodes into plain data in one walk, which finds what the YAML library lets pass: duplicate
 * keys, aliases that have no end or too much of it, numbers that JavaScript cannot hold, and keys
 * that are no data. An alias shares the value that it names; its size counts each time.
 */
export function convert(root: Node | null): Converted {
  const walk: Walk = { problems: [], anchors: new Map(), targets: new Map(), done: new Map() }
  const { value } = convertNode(walk, root, 0)
  return { value, problems: walk.problems, targets: walk.targets }
}

function convertNode(walk: Walk, node: Node | null, depth: number): Done {
  if (node === null) return NOTHING
  if (isAlias(node)) return convertAlias(walk, node, depth)
  if (isScalar(node)) {
    if (node.anchor !== undefined) walk.anchors.set(node.anchor, node)
    const done = { value: convertScalar(walk, node.value, node), size: 1, height: 0 }
    walk.done.set(node, done)
    return done
  }
  if (depth >= NESTING_MAX) {
    return refuse(walk, node, tooDeep())
  }
  if (isMap(node) || isSeq(node)) {
    if (node.anchor !== undefined) walk.anchors.set(node.anchor, node)
    const done = isMap(node) ? convertMap(walk, node, depth) : convertList(walk, node.items, depth)
    walk.done.set(node, done)
    return within(walk, node, done)
  }
  return NOTHING
}

function convertMap(walk: Walk, map: YAMLMap, depth: number): Done {
  const entries: [string, unknown][] = []
  const seen = new Set<string>()
  let size = 1
  let height = 0
  for (const pair of map.items as Pair<Node, Node | null>[]) {
    const key = isScalar(pair.key) ? String(pair.key.value) : ''
    if (!isScalar(pair.key)) {
      refuse(walk, pair.key, { code: 'invalid_key', message: 'a key must be a plain text' })
      continue
    }
    if (seen.has(key)) {
      refuse(walk, pair.key, {
        code: 'duplicate_key',
        message: `the key "${key}" stands twice in this map`,
      })
      continue
    }
    if (RESERVED_KEYS.has(key)) {
      refuse(walk, pair.key, { code: 'reserved_key', message: `"${key}" cannot be a key` })
      continue
    }
    checkText(walk, key, pair.key)
    seen.add(key)
    const item = convertNode(walk, pair.value, depth + 1)
    size += item.size
    height = Math.max(height, item.height)
    entries.push([key, item.value])
  }
  return { value: Object.fromEntries(entries), size, height: height + 1 }
}

function convertList(walk: Walk, items: readonly unknown[], depth: number): Done {
  const value: unknown[] = []
  let size = 1
  let height = 0
  for (const one of items) {
    const item = convertNode(walk, one as Node | null, depth + 1)
    size += item.size
    height = Math.max(height, item.height)
    value.push(item.value)
  }
  return { value, size, height: height + 1 }
}

function convertAlias(walk: Walk, alias: Alias, depth: number): Done {
  const target = walk.anchors.get(alias.source)
  if (target === undefined) {
    return refuse(walk, alias, {
      code: 'unknown_alias',
      message: `no anchor "&${alias.source}" stands before this alias`,
    })
  }
  const done = walk.done.get(target)
  if (done === undefined) {
    return refuse(walk, alias, {
      code: 'alias_loop',
      message: `the alias "*${alias.source}" stands inside what it names`,
    })
  }
  walk.targets.set(alias, target)
  if (depth + done.height > NESTING_MAX) return refuse(walk, alias, tooDeep())
  return within(walk, alias, done)
}

/** Passes `done` on unless the file has grown too large with it; says so where it first has. */
function within(walk: Walk, node: Node, done: Done): Done {
  if (done.size <= VALUES_MAX) return done
  return refuse(walk, node, {
    code: 'too_many_values',
    message: `more than ${VALUES_MAX} values, aliases counted each time they are used`,
  })
}

function convertScalar(walk: Walk, value: unknown, node: Node): unknown {
  if (typeof value === 'string') checkText(walk, value, node)
  if (typeof value === 'bigint') return refuse(walk, node, unsafeNumber()).value
  if (typeof value !== 'number') return value
  const isSafe = Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value))
  return isSafe ? value : refuse(walk, node, unsafeNumber()).value
}

/** Escapes in quoted strings can make what the text of a file may not hold. */
function checkText(walk: Walk, text: string, node: Node): void {
  if (text.isWellFormed() && !text.includes('\0')) return
  refuse(walk, node, {
    code: 'invalid_character',
    message: 'the text holds an escape for NUL or for half of a character',
  })
}

function refuse(walk: Walk, node: Node, problem: Problem): Done {
  walk.problems.push({ ...problem, offset: node.range?.[0] ?? 0 })
  return NOTHING
}

function tooDeep(): Problem {
  return {
    code: 'nesting_limit',
    message: `lists and maps may lie ${NESTING_MAX} deep in each other, not deeper`,
  }
}

function unsafeNumber(): Problem {
  return {
    code: 'invalid_number',
    message: 'this number cannot be held exactly',
    hint: 'Quote it to keep it as a text.',
  }
}
