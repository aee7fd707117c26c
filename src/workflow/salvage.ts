import type { ErrorObject } from 'ajv'
import { segmentsOf } from './explain.ts'

/** A value out of a file: a map or a list, by key or index. */
type Node = Record<string, unknown>

/**
 * What is left of a workflow file's value without the parts that break its schema, so that the
 * rest can be checked in the same run: a broken step is `null`, and other broken fields are gone.
 * Undefined where the file is no map at all.
 */
export function soundWorkflow(value: unknown, violations: readonly ErrorObject[]): unknown {
  return without(value, violations, (segments) => {
    const step = stepOf(segments)
    if (step.length > 0) return { path: step, isStep: true }
    return { path: segments.slice(0, 1), isStep: false }
  })
}

const ENTRIES = new Set(['channels', 'variables', 'sources', 'client_keys', 'schedules'])

/** The same for an environment file, whose variables, channels, sources, keys and schedules are broken one by one. */
export function soundEnvironment(value: unknown, violations: readonly ErrorObject[]): unknown {
  return without(value, violations, (segments) => {
    const isEntry = ENTRIES.has(segments[0] ?? '')
    return { path: segments.slice(0, isEntry ? 2 : 1), isStep: false }
  })
}

interface Part {
  readonly path: readonly string[]
  readonly isStep: boolean
}

function without(
  value: unknown,
  violations: readonly ErrorObject[],
  partOf: (segments: readonly string[]) => Part,
): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  if (violations.length === 0) return value
  const copy = structuredClone(value) as Node
  for (const { instancePath, params, propertyName } of violations) {
    const name = propertyName ?? (params['propertyName'] as string | undefined)
    const segments = [...segmentsOf(instancePath), ...(name === undefined ? [] : [name])]
    const { path, isStep } = partOf(segments)
    const last = path.at(-1)
    const parent = holderOf(copy, path)
    // An unknown or missing key of the file itself leaves the others as they are.
    if (last === undefined || parent === undefined) continue
    if (isStep) parent[last] = null
    else delete parent[last]
  }
  return copy
}

/** The map or list that the last segment of `path` stands in. */
function holderOf(root: Node, path: readonly string[]): Node | undefined {
  let node: unknown = root
  for (const segment of path.slice(0, -1)) {
    if (typeof node !== 'object' || node === null) return undefined
    node = (node as Node)[segment]
  }
  return typeof node === 'object' && node !== null ? (node as Node) : undefined
}

/** The path of the innermost step that `segments` lead into; empty where they lead into none. */
function stepOf(segments: readonly string[]): readonly string[] {
  let end = 0
  for (let at = 0; segments[at] === 'steps' && segments[at + 1] !== undefined; at += 4) end = at + 2
  return segments.slice(0, end)
}
