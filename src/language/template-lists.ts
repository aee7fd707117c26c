import { chargeStep } from './template-budget.ts'
import { textOf } from './template-escape.ts'
import { HelperFailure, numberOf, shown } from './template-format.ts'
import { isUnset, lookup, plain, work, type Helper } from './template-helper.ts'
import { compareValues, isSame } from './values.ts'

/** What one step of the budget pays for, in characters. */
const CHARACTERS_PER_ITEM = 32

/** The helpers of lists, by name. An unset list is empty; any other value in its place fails the step. */
export const listHelpers: Readonly<Record<string, Helper>> = {
  size: plain(1, 1, 'How many items a list has, or characters a text.', (value) =>
    typeof value === 'string' ? Array.from(work(value)).length : listOf('size', value).length,
  ),
  first: plain(1, 2, 'The first item of a list, or a list of the first so many.', (list, count) =>
    isUnset(count)
      ? listOf('first', list)[0]
      : listOf('first', list).slice(0, whole('first', count)),
  ),
  last: plain(1, 2, 'The last item of a list, or a list of the last so many.', (list, count) => {
    const items = listOf('last', list)
    return isUnset(count)
      ? items.at(-1)
      : items.slice(Math.max(0, items.length - whole('last', count)))
  }),
  slice: plain(
    2,
    3,
    'The items of a list from one index, counted from 0, up to before another.',
    slice,
  ),
  join: plain(
    1,
    2,
    'The items of a list as one text, with ", " or a second value between them.',
    join,
  ),
  reverse: plain(1, 1, 'The list the other way round.', (list) =>
    listOf('reverse', list).toReversed(),
  ),
  sort: plain(
    1,
    3,
    'The list in order, by a path inside the items where one is given; "desc" as a third value turns it.',
    sort,
  ),
  unique: plain(
    1,
    2,
    'The list with each item once, told apart by a path inside the items where one is given.',
    unique,
  ),
  pluck: plain(2, 2, 'What stands at a path inside each item of a list.', (list, path) =>
    listOf('pluck', list).map((item) => at(item, path)),
  ),
  where: plain(
    2,
    3,
    'The items of a list that have a value at a path, or that value where a third one is given.',
    where,
  ),
  group: plain(
    2,
    2,
    'The items of a list by what stands at a path: a list of {key, items}, in the order of the list.',
    group,
  ),
  includes: plain(2, 2, 'Whether a list has the item, or a text the other text.', includes),
  sum: plain(
    1,
    2,
    'The sum of a list of numbers, at a path inside the items where one is given.',
    (list, path) =>
      listOf('sum', list).reduce<number>(
        (sum, item) => sum + (numberOf('sum', at(item, path)) ?? 0),
        0,
      ),
  ),
  split: plain(2, 2, 'The parts of a text, cut at another one.', (text, mark) =>
    work(textOf(text)).split(textOf(mark) || ','),
  ),
}

/** The items of a list, paid for one by one. Throws `HelperFailure`, `BudgetExceeded`. */
function listOf(helper: string, value: unknown): readonly unknown[] {
  if (isUnset(value) || value === '') return []
  if (!Array.isArray(value)) throw new HelperFailure(`${helper} takes a list, not ${shown(value)}`)
  chargeStep(value.length * CHARACTERS_PER_ITEM)
  return value as readonly unknown[]
}

function whole(helper: string, value: unknown): number {
  const count = numberOf(helper, value) ?? 0
  return Math.max(0, Math.floor(count))
}

/** What stands at a dotted path; the item itself without one. */
function at(item: unknown, path: unknown): unknown {
  if (isUnset(path) || path === '') return item
  return textOf(path).split('.').reduce<unknown>(lookup, item)
}

function slice(list: unknown, from: unknown, to: unknown): readonly unknown[] {
  const end = isUnset(to) ? undefined : Math.trunc(numberOf('slice', to) ?? 0)
  return listOf('slice', list).slice(Math.trunc(numberOf('slice', from) ?? 0), end)
}

function join(list: unknown, mark: unknown): string {
  const between = mark === undefined ? ', ' : textOf(mark)
  let text = ''
  for (const [index, item] of listOf('join', list).entries()) {
    const next = (index === 0 ? '' : between) + textOf(item)
    chargeStep(next.length)
    text += next
  }
  return text
}

function sort(list: unknown, path: unknown, direction: unknown): readonly unknown[] {
  const items = listOf('sort', list)
  const sign = direction === 'desc' ? -1 : 1
  return items.toSorted((left, right) => {
    chargeStep()
    return sign * (compareValues(at(left, path), at(right, path)) ?? 0)
  })
}

function unique(list: unknown, path: unknown): readonly unknown[] {
  const seen = new Set<string>()
  return listOf('unique', list).filter((item) => {
    const key = keyOf(at(item, path))
    if (seen.has(key)) return false
    seen.add(key)
    return true
  })
}

function where(list: unknown, path: unknown, value: unknown): readonly unknown[] {
  return listOf('where', list).filter((item) => {
    const found = at(item, path)
    return value === undefined ? Boolean(found) : same(found, value)
  })
}

function group(list: unknown, path: unknown): readonly unknown[] {
  const groups = new Map<string, { readonly key: unknown; readonly items: unknown[] }>()
  for (const item of listOf('group', list)) {
    const value = at(item, path)
    const key = keyOf(value)
    const known = groups.get(key)
    if (known) known.items.push(item)
    else groups.set(key, { key: value ?? null, items: [item] })
  }
  return [...groups.values()]
}

function includes(holder: unknown, value: unknown): boolean {
  if (typeof holder === 'string') return work(holder).includes(textOf(value))
  return listOf('includes', holder).some((item) => same(item, value))
}

function same(left: unknown, right: unknown): boolean {
  chargeStep(typeof left === 'string' ? left.length : CHARACTERS_PER_ITEM)
  return isSame(left, right)
}

function keyOf(value: unknown): string {
  return `${typeof value} ${work(textOf(value))}`
}
