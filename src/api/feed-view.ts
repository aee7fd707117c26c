import { invalid } from '../recipients/recipient.ts'

/** What of a feed is wanted. */
export interface FeedView {
  readonly mode?: 'rich' | 'compact'
  /** Paths, with commas between them. */
  readonly exclude?: string
}

interface Reply {
  readonly entries: readonly object[]
}

/** Leaves out of a feed what is not wanted. Throws a 422 `RequestError` for a path that leads too deep. */
export function narrowFeed<Body extends Reply>(body: Body, { mode, exclude }: FeedView): object {
  const paths = readPaths(exclude ?? '')
  const narrowed = mode === 'compact' ? { ...body, entries: body.entries.map(compact) } : body
  return paths.reduce((rest, path) => without(rest, path), narrowed as object)
}

interface CompactParts extends Readonly<Record<string, unknown>> {
  readonly actors: readonly object[]
}

/** An item without its activities, with one actor at most, and without what is nested in its data. */
function compact(item: object): object {
  const { activities: _, total_activities: __, actors, data, ...rest } = item as CompactParts
  const plain = Object.entries(data ?? {}).filter(([, value]) => !isNested(value))
  return { ...rest, actors: actors.slice(0, 1), data: Object.fromEntries(plain) }
}

function isNested(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

const PATH_STEPS_MAX = 3
const PATHS_MAX = 100

function readPaths(text: string): readonly (readonly string[])[] {
  const paths = text
    .split(',')
    .map((path) => path.trim().split('.'))
    .filter((path) => path.every((step) => step !== ''))
  if (paths.length > PATHS_MAX) throw invalid('?/exclude', `names more than ${PATHS_MAX} paths`)
  if (paths.some((path) => path.length > PATH_STEPS_MAX))
    throw invalid('?/exclude', `holds a path of more than ${PATH_STEPS_MAX} steps`)
  return paths
}

/** A value without what stands at a path; of a list, without it in each entry. */
function without<Value>(value: Value, [name, ...rest]: readonly string[]): Value {
  if (!isNested(value) || value instanceof Date || name === undefined) return value
  if (Array.isArray(value)) return value.map((one) => without(one, [name, ...rest])) as Value
  const kept = Object.entries(value).flatMap(([key, held]) => {
    if (key !== name) return [[key, held] as const]
    return rest.length === 0 ? [] : [[key, without(held, rest)] as const]
  })
  return Object.fromEntries(kept) as Value
}
