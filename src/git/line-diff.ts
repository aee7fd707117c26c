/** Lines that may be the same content; a group of lines that occur more often says nothing about where things belong. */
const OCCURRENCES_MAX = 64

/** One place where two texts differ: so many lines at `oldAt` have become so many lines at `newAt`. */
export interface Hunk {
  readonly oldAt: number
  readonly oldCount: number
  readonly newAt: number
  readonly newCount: number
}

/**
 * Compares two texts line by line, as Git does when it merges: by histogram, with each group of
 * changed lines moved down as far as it goes. In the order of the lines.
 */
export function diffLines(before: readonly string[], after: readonly string[]): readonly Hunk[] {
  const marks: Marks = {
    before: { lines: before, changed: new Uint8Array(before.length) },
    after: { lines: after, changed: new Uint8Array(after.length) },
  }
  markChanged(marks, { oldFrom: 0, oldTo: before.length, newFrom: 0, newTo: after.length })
  compact(marks.before, marks.after)
  compact(marks.after, marks.before)
  return hunksOf(marks)
}

interface Side {
  readonly lines: readonly string[]
  readonly changed: Uint8Array
}

interface Marks {
  readonly before: Side
  readonly after: Side
}

/** Half-open ranges of both texts. */
interface Region {
  readonly oldFrom: number
  readonly oldTo: number
  readonly newFrom: number
  readonly newTo: number
}

function markChanged(marks: Marks, start: Region): void {
  const open: Region[] = [start]
  for (let region = open.pop(); region !== undefined; region = open.pop()) {
    const { oldFrom, oldTo, newFrom, newTo } = region
    if (oldFrom >= oldTo && newFrom >= newTo) continue
    const common = oldFrom < oldTo && newFrom < newTo ? findCommon(marks, region) : undefined
    if (common === undefined) {
      marks.before.changed.fill(1, oldFrom, oldTo)
      marks.after.changed.fill(1, newFrom, newTo)
      continue
    }
    open.push(
      { oldFrom, oldTo: common.oldFrom, newFrom, newTo: common.newFrom },
      { oldFrom: common.oldTo, oldTo, newFrom: common.newTo, newTo },
    )
  }
}

/** The common run of lines whose rarest line is the rarest, and of those the longest. */
function findCommon(marks: Marks, region: Region): Region | undefined {
  const places = placesOf(marks.before, region)
  const countOf = (at: number) => places.get(marks.before.lines[at] ?? '')?.length ?? 0
  let best: (Region & { readonly count: number }) | undefined
  for (let newAt = region.newFrom; newAt < region.newTo;) {
    const found = places.get(marks.after.lines[newAt] ?? '') ?? []
    const rarest = best?.count ?? OCCURRENCES_MAX + 1
    let next = newAt + 1
    let passed = -1
    for (const oldAt of found.length > rarest ? [] : found) {
      // What an earlier place has reached is the same run.
      if (oldAt <= passed) continue
      const run = extend(marks, region, { oldAt, newAt, countOf })
      passed = run.oldTo - 1
      next = Math.max(next, run.newTo)
      if (isBetter(run, best)) best = run
    }
    newAt = next
  }
  return best
}

function isBetter(
  run: Region & { readonly count: number },
  best: (Region & { readonly count: number }) | undefined,
): boolean {
  if (best === undefined) return true
  return run.oldTo - run.oldFrom > best.oldTo - best.oldFrom || run.count < best.count
}

/** Where each line of the old region stands. */
function placesOf(
  { lines }: Side,
  { oldFrom, oldTo }: Region,
): ReadonlyMap<string, readonly number[]> {
  const places = new Map<string, number[]>()
  for (let at = oldFrom; at < oldTo; at += 1) {
    const line = lines[at] ?? ''
    const known = places.get(line)
    if (known) known.push(at)
    else places.set(line, [at])
  }
  return places
}

function extend(
  { before, after }: Marks,
  region: Region,
  {
    oldAt,
    newAt,
    countOf,
  }: {
    readonly oldAt: number
    readonly newAt: number
    readonly countOf: (at: number) => number
  },
): Region & { readonly count: number } {
  const isSame = (one: number, other: number) => before.lines[one] === after.lines[other]
  let [oldFrom, newFrom, oldTo, newTo] = [oldAt, newAt, oldAt + 1, newAt + 1]
  let count = countOf(oldAt)
  while (oldFrom > region.oldFrom && newFrom > region.newFrom && isSame(oldFrom - 1, newFrom - 1)) {
    oldFrom -= 1
    newFrom -= 1
    count = Math.min(count, countOf(oldFrom))
  }
  while (oldTo < region.oldTo && newTo < region.newTo && isSame(oldTo, newTo)) {
    count = Math.min(count, countOf(oldTo))
    oldTo += 1
    newTo += 1
  }
  return { oldFrom, oldTo, newFrom, newTo, count }
}

/** A run of changed lines, maybe none, between two lines that are not. */
class Group {
  readonly #side: Side
  start = 0
  end = 0

  constructor(side: Side) {
    this.#side = side
    while (side.changed[this.end] === 1) this.end += 1
  }

  get isEmpty(): boolean {
    return this.start === this.end
  }

  next(): boolean {
    const { changed, lines } = this.#side
    if (this.end === lines.length) return false
    this.start = this.end + 1
    this.end = this.start
    while (changed[this.end] === 1) this.end += 1
    return true
  }

  previous(): boolean {
    const { changed } = this.#side
    if (this.start === 0) return false
    this.end = this.start - 1
    this.start = this.end
    while (changed[this.start - 1] === 1) this.start -= 1
    return true
  }

  slideDown(): boolean {
    const { changed, lines } = this.#side
    if (this.end >= lines.length || lines[this.start] !== lines[this.end]) return false
    changed[this.start] = 0
    changed[this.end] = 1
    this.start += 1
    this.end += 1
    while (changed[this.end] === 1) this.end += 1
    return true
  }

  slideUp(): boolean {
    const { changed, lines } = this.#side
    if (this.start === 0 || lines[this.start - 1] !== lines[this.end - 1]) return false
    this.start -= 1
    this.end -= 1
    changed[this.start] = 1
    changed[this.end] = 0
    while (changed[this.start - 1] === 1) this.start -= 1
    return true
  }
}

/**
 * Moves each group of changed lines down as far as it goes, joins those that meet, and moves one
 * back to where the other text has changed lines too, so that both make one hunk.
 */
function compact(side: Side, other: Side): void {
  const group = new Group(side)
  const beside = new Group(other)
  do {
    if (!group.isEmpty) settle(group, beside)
  } while (group.next() && beside.next())
}

function settle(group: Group, beside: Group): void {
  let isBeside = false
  let highest = 0
  for (let size = -1; size !== group.end - group.start;) {
    size = group.end - group.start
    while (group.slideUp()) beside.previous()
    highest = group.end
    isBeside = !beside.isEmpty
    while (group.slideDown()) {
      beside.next()
      isBeside = isBeside || !beside.isEmpty
    }
  }
  if (group.end === highest || !isBeside) return
  while (beside.isEmpty) {
    group.slideUp()
    beside.previous()
  }
}

function hunksOf({ before, after }: Marks): readonly Hunk[] {
  const hunks: Hunk[] = []
  let oldAt = 0
  let newAt = 0
  while (oldAt < before.lines.length || newAt < after.lines.length) {
    const [oldStart, newStart] = [oldAt, newAt]
    while (before.changed[oldAt] === 1) oldAt += 1
    while (after.changed[newAt] === 1) newAt += 1
    if (oldAt > oldStart || newAt > newStart) {
      const counts = { oldCount: oldAt - oldStart, newCount: newAt - newStart }
      hunks.push({ oldAt: oldStart, newAt: newStart, ...counts })
    }
    oldAt += 1
    newAt += 1
  }
  return hunks
}
