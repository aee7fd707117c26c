import { execFileSync } from 'node:child_process'
import type { TestRepository } from '../support/repository.ts'

/** What stands at a path: its lines, and whether it may be run. */
interface Written {
  readonly lines: readonly string[]
  readonly isExecutable: boolean
}

type Files = ReadonlyMap<string, Written>

/** Whole numbers below a bound. */
type Below = (bound: number) => number

/** Numbers by chance, the same for the same seed. */
export function numbers(seed: number): Below {
  let state = seed >>> 0
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound
  }
}

/** The lines of a file as it stands at a path. */
type Frame = (path: string, lines: readonly string[]) => readonly string[]

/**
 * Makes a history for each seed, with the branches `<seed>/base`, `<seed>/ours` and `<seed>/theirs`:
 * a few workflows, which both sides have changed by chance. Files are edited, added, removed, moved
 * and made executable, directories renamed and removed. `frame` makes what is written of the lines.
 */
export function writeHistories(
  repository: TestRepository,
  seeds: readonly number[],
  frame: Frame = (_, own) => own,
): void {
  const stream: string[] = []
  let mark = 0
  const commit = (branch: string, files: Files, parent: number | undefined): number => {
    mark += 1
    stream.push(
      `commit refs/heads/${branch}`,
      `mark :${mark}`,
      `committer Ada Example <ada@example.com> ${1_767_225_600 + mark} +0000`,
      data('Change'),
      ...(parent === undefined ? [] : [`from :${parent}`]),
      'deleteall',
    )
    for (const [path, file] of files) {
      stream.push(`M ${file.isExecutable ? '100755' : '100644'} inline ${path}`)
      stream.push(
        data(
          frame(path, file.lines)
            .map((line) => `${line}\n`)
            .join(''),
        ),
      )
    }
    return mark
  }
  for (const seed of seeds) {
    const below = numbers(seed)
    const base = firstFiles(below)
    const parent = commit(`${seed}/base`, base, undefined)
    let last: Files | undefined
    for (const side of ['ours', 'theirs']) {
      let [files, from] = [base, parent]
      for (let commits = 1 + below(2); commits > 0; commits -= 1) {
        // Now and then one side does what the other one has done.
        files = last !== undefined && below(12) === 0 ? last : change(files, below)
        from = commit(`${seed}/${side}`, files, from)
      }
      last = files
    }
  }
  const input = `${stream.join('\n')}\n`
  execFileSync('git', ['fast-import', '--quiet'], { cwd: repository.path, input })
}

function data(text: string): string {
  return `data ${Buffer.byteLength(text)}\n${text}`
}

const NAMES = ['workflow.yaml', 'email.html.hbs', 'feed.md.hbs', 'parts/intro.hbs', 'parts/end.hbs']
const README = 'README.md'

function firstFiles(below: Below): Files {
  const files = new Map<string, Written>()
  for (let key = 0; key < 2 + below(4); key += 1) {
    for (const name of NAMES.slice(0, 1 + below(NAMES.length))) {
      files.set(`workflows/wf-${key}/${name}`, written(below, 4 + below(12)))
    }
  }
  if (below(2) === 0) files.set('workflows/_partials/button.hbs', written(below, 6))
  if (below(2) === 0) files.set('environments/production.yaml', written(below, 6))
  files.set(README, { lines: ['Read me'], isExecutable: false })
  return files
}

function written(below: Below, count: number): Written {
  return { lines: lines(below, count), isExecutable: false }
}

/** Sometimes few different ones, so that the same ones stand in several places. */
function lines(below: Below, count: number): readonly string[] {
  const kinds = below(3) === 0 ? 4 : 200
  return Array.from({ length: count }, () => `line ${below(kinds)} of a file`)
}

function change(files: Files, below: Below): Files {
  const next = new Map(files)
  for (let changes = 1 + below(4); changes > 0; changes -= 1) {
    const paths = [...next.keys()].filter((path) => path !== README)
    const path = paths[below(Math.max(1, paths.length))]
    const file = path === undefined ? undefined : next.get(path)
    if (path === undefined || !file) break
    const kind = below(13)
    if (kind < 5) next.set(path, { ...file, lines: edited(file.lines, below) })
    else if (kind === 5) next.delete(path)
    else if (kind === 6) next.set(`workflows/wf-${below(8)}/new-${below(3)}.hbs`, written(below, 5))
    else if (kind === 7) next.set(beside(path, `new-${below(3)}.hbs`), written(below, 5))
    else if (kind === 8) move(next, path, beside(path, `moved-${below(3)}.hbs`))
    else if (kind === 9) next.set(path, { ...file, isExecutable: !file.isExecutable })
    else if (kind < 12) moveDirectory(next, path, `workflows/wf-${below(8)}`)
    else removeDirectory(next, path)
  }
  return next
}

function edited(text: readonly string[], below: Below): readonly string[] {
  const next = [...text]
  for (let edits = 1 + below(2); edits > 0; edits -= 1) {
    const at = below(next.length + 1)
    next.splice(at, below(2), ...lines(below, below(3)))
  }
  return next
}

function beside(path: string, name: string): string {
  return path.replace(/[^/]+$/, name)
}

function move(files: Map<string, Written>, from: string, to: string): void {
  const file = files.get(from)
  if (file === undefined || files.has(to)) return
  files.delete(from)
  files.set(to, file)
}

function moveDirectory(files: Map<string, Written>, path: string, to: string): void {
  for (const one of filesBeside(files, path)) {
    const from = one.split('/').slice(0, 2).join('/')
    if (from !== to) move(files, one, `${to}${one.slice(from.length)}`)
  }
}

function removeDirectory(files: Map<string, Written>, path: string): void {
  for (const one of filesBeside(files, path)) files.delete(one)
}

/** The files of the workflow that a path lies in. */
function filesBeside(files: Files, path: string): readonly string[] {
  const directory = path.split('/').slice(0, 2).join('/')
  if (!directory.startsWith('workflows/wf-')) return []
  return [...files.keys()].filter((one) => one.startsWith(`${directory}/`))
}
