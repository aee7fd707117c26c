import { RequestError } from '../errors.ts'
import { isUuid } from '../ids.ts'

/** Of entries in one page; also how many there are where the call does not say. */
const PAGE_SIZE_MAX = 50

/** Query parameters of each list. */
export const pageQuery = {
  after: { type: 'string', description: 'A cursor: what stands behind it in the list.' },
  before: { type: 'string', description: 'A cursor: what stands in front of it.' },
  page_size: { type: 'integer', minimum: 0, maximum: PAGE_SIZE_MAX },
} as const

/** One page of a list that is ordered by an id. */
export interface Page {
  /** Behind this in the list: older, where the newest come first. */
  readonly after?: string
  /** In front of this. */
  readonly before?: string
  readonly size: number
  readonly cursors: Cursors
}

/** How a list writes its ids as cursors. */
export interface Cursors {
  readonly write: (id: string) => string
  /** The id that a cursor stands for; undefined where it is none of the list's. */
  readonly read: (cursor: string) => string | undefined
}

/** Each cursor is the id itself. */
export function plainCursors(isId: (text: string) => boolean): Cursors {
  return { write: (id) => id, read: (cursor) => (isId(cursor) ? cursor : undefined) }
}

const uuidCursors = plainCursors(isUuid)

/** For ids that callers choose: they may hold anything, and a cursor needs no escaping in a URL. */
export const namedCursors: Cursors = { write: encodeName, read: decodeName }

function encodeName(id: string): string {
  return Buffer.from(id).toString('base64url')
}

function decodeName(cursor: string): string | undefined {
  const id = Buffer.from(cursor, 'base64url').toString()
  return encodeName(id) === cursor && !id.includes('\0') ? id : undefined
}

type Query = Readonly<Record<string, unknown>>

/** What a list needs of its query; 422 for a cursor that is none of ours. */
export function readPage(query: Query, cursors: Cursors = uuidCursors): Page {
  const size = Number(query['page_size'] ?? 0)
  const after = readCursor(query, 'after', cursors)
  const before = readCursor(query, 'before', cursors)
  return {
    ...(after !== undefined && { after }),
    ...(before !== undefined && { before }),
    // Some clients send 0 where they mean nothing in particular.
    size: size === 0 ? PAGE_SIZE_MAX : size,
    cursors,
  }
}

function readCursor(query: Query, name: string, cursors: Cursors): string | undefined {
  const cursor = query[name]
  if (typeof cursor !== 'string' || cursor === '') return undefined
  const id = cursors.read(cursor)
  if (id !== undefined) return id
  const message = 'is not a cursor of an earlier page'
  throw new RequestError(422, 'invalid_params', `?/${name} ${message}`, [
    { field: `?/${name}`, message },
  ])
}

/** The ids from which a list goes on and back; null at its ends. */
export interface Ends {
  readonly after: string | null
  readonly before: string | null
}

/** As `Ends`, in cursors. */
export interface PageInfo extends Ends {
  readonly __typename: 'PageInfo'
  readonly page_size: number
}

export function pageInfo({ after, before }: Ends, { size, cursors }: Page): PageInfo {
  return {
    __typename: 'PageInfo',
    after: after === null ? null : cursors.write(after),
    before: before === null ? null : cursors.write(before),
    page_size: size,
  }
}

/** The page info of a list that is always whole. */
export function wholePage(length: number): PageInfo {
  return { __typename: 'PageInfo', after: null, before: null, page_size: length }
}

/**
 * Cuts rows to a page. `rows` are in the order of the list, and as many as the page holds and one more: the last
 * one is too many in a page after a cursor, the first one in a page before a cursor.
 */
export function cutPage<Row extends { readonly id: string }>(
  rows: readonly Row[],
  page: Page,
): { readonly rows: readonly Row[]; readonly info: PageInfo } {
  const isBackward = page.before !== undefined
  const excess = Math.max(0, rows.length - page.size)
  const shown = isBackward ? rows.slice(excess) : rows.slice(0, page.size)
  const hasOlder = isBackward ? shown.length > 0 : excess > 0
  const hasNewer = isBackward ? excess > 0 : page.after !== undefined && shown.length > 0
  const after = hasOlder ? (shown.at(-1)?.id ?? null) : null
  const before = hasNewer ? (shown[0]?.id ?? null) : null
  return { rows: shown, info: pageInfo({ after, before }, page) }
}

/** One page of a list that is read whole, in its order; 422 for a cursor that is no id of it. */
export function slicePage<Item extends { readonly id: string }>(
  items: readonly Item[],
  query: Query,
): { readonly items: readonly Item[]; readonly page_info: PageInfo } {
  const placeOf = (cursor: string) => items.findIndex(({ id }) => id === cursor)
  const page = readPage(
    query,
    plainCursors((cursor) => placeOf(cursor) >= 0),
  )
  const from = page.after === undefined ? 0 : placeOf(page.after) + 1
  const to = page.before === undefined ? items.length : placeOf(page.before)
  const start = page.before === undefined ? from : Math.max(from, to - page.size)
  const end = Math.min(to, start + page.size)
  const shown = items.slice(start, end)
  const after = end < items.length ? (shown.at(-1)?.id ?? null) : null
  const before = start > 0 ? (shown[0]?.id ?? null) : null
  return { items: shown, page_info: pageInfo({ after, before }, page) }
}
