import { lstatSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { setImmediate as turn, setTimeout as pause } from 'node:timers/promises'
import { join } from 'node:path'
import { RetryableFailure } from '../errors.ts'
import type { Revision } from '../ids.ts'
import { readIgnores } from './ignores.ts'
import type { Ignores } from './ignores.ts'
import { ignoreMissing } from './location.ts'
import type { Location } from './location.ts'
import { treeId } from './objects.ts'
import type { TreeEntry } from './objects.ts'
import { SUBMODULE_MODE, TREE_MODE, UNBORN } from './source.ts'
import type { Entry, RevisionTree, WorkingSource } from './source.ts'
import { isWanted, listDirectory, readScanned, scanUnit } from './working-scan.ts'
import type { Unit } from './working-scan.ts'

const DIRECTORIES_AT_ONCE = 100
/** How long a look waits for Git to let go of its index; a lock that stays is left over from a crash. */
const INDEX_LOCK_WAIT_MS = 5000
const INDEX_LOCK_POLL_MS = 50
/** After more changes than this, looking everywhere is as quick. */
const NOTES_MAX = 1000
const ENVIRONMENTS = 'environments'
const WORKFLOWS = 'workflows'

/** What one look found. */
interface Seen {
  /** HEAD, the index and what is ignored everywhere, as they were before the look. */
  readonly surroundings: string
  readonly ignores: Ignores
  readonly environments: Unit | undefined
  /** `workflows` itself where it is no directory. */
  readonly instead: Unit | undefined
  /** By the name of what is directly under `workflows/`. */
  readonly workflows: ReadonlyMap<string, Unit>
}

/** The files of a work tree as they are on disk, committed or not. Content is hashed as Git would. */
export class WorkingTree implements WorkingSource {
  readonly kind = 'working_tree'
  readonly #root: string
  readonly #location: Location
  #seen: Seen | undefined
  /** Null: anywhere. */
  #notes: Set<string> | null = null

  constructor(location: Location & { readonly workTree: string }) {
    this.#root = location.workTree
    this.#location = location
  }

  note(path: string | null): void {
    if (path === null) this.#notes = null
    else this.#notes?.add(path)
    if ((this.#notes?.size ?? 0) > NOTES_MAX) this.#notes = null
  }

  /**
   * Reads names and hashes of all that is under `workflows/` and `environments/`; where changes
   * were noted since the last look, and Git itself did nothing, only of these places. Waits while
   * Git changes the work tree. Throws a `RetryableFailure` when files change under the look.
   */
  async look(head: Revision | null): Promise<RevisionTree> {
    await this.#indexUnlocked()
    const notes = this.#notes
    this.#notes = new Set()
    try {
      const surroundings = await this.#surroundings(head)
      const before = this.#seen
      const seen =
        notes === null || notes.size === 0 || before?.surroundings !== surroundings
          ? await this.#lookEverywhere(surroundings)
          : (this.#lookAt(notes, before) ?? (await this.#lookEverywhere(surroundings)))
      this.#seen = seen
      return revisionTree(this.#root, head, seen)
    } catch (error) {
      this.#notes = null
      throw error
    }
  }

  /** Differs where more may be another than what was noted. */
  async #surroundings(head: Revision | null): Promise<string> {
    const { gitDir, commonDir } = this.#location
    const paths = [
      join(gitDir, 'index'),
      join(commonDir, 'info', 'exclude'),
      join(this.#root, '.gitignore'),
    ]
    const found = await Promise.all(
      paths.map((path) => stat(path, { bigint: true }).catch(ignoreMissing)),
    )
    const keys = found.map((one) => one && [one.ino, one.size, one.mtimeNs].join(':'))
    return [head, ...keys].join(' ')
  }

  async #lookEverywhere(surroundings: string): Promise<Seen> {
    const before = this.#seen
    const ignores = readIgnores(this.#root, this.#location.commonDir)
    const environments = this.#scanAt(ENVIRONMENTS, ignores, before?.environments)
    const found = lstatSync(join(this.#root, WORKFLOWS), { throwIfNoEntry: false })
    const seen = { surroundings, ignores, environments }
    if (!found?.isDirectory()) {
      const instead = found && this.#scanAt(WORKFLOWS, ignores, before?.instead)
      return { ...seen, instead, workflows: new Map() }
    }
    const workflows = new Map<string, Unit>()
    const ground = { root: this.#root, ignores }
    // In order, so that all that is sorted later is sorted already.
    const listed = listDirectory(WORKFLOWS, ground).toSorted((one, other) =>
      one.name < other.name ? -1 : 1,
    )
    for (const [at, item] of listed.entries()) {
      if (at % DIRECTORIES_AT_ONCE === 0) await turn()
      const path = `${WORKFLOWS}/${item.name}`
      const isDirectory = item.isDirectory()
      if (!isWanted(path, isDirectory, ignores)) continue
      const known = before?.workflows.get(item.name)
      const unit = scanUnit(path, ground, { before: known, isDirectory })
      if (unit) workflows.set(item.name, unit)
    }
    return { ...seen, instead: undefined, workflows }
  }

  /** Undefined where a note concerns more than one directory. */
  #lookAt(notes: ReadonlySet<string>, before: Seen): Seen | undefined {
    const { ignores } = before
    const workflows = new Map(before.workflows)
    let { environments } = before
    const places = new Set<string>()
    for (const note of notes) {
      const [top, name, ...rest] = note.split('/')
      if (name === undefined || [name, ...rest].includes('.gitignore')) return undefined
      places.add(top === ENVIRONMENTS ? ENVIRONMENTS : name)
      if (top !== ENVIRONMENTS && top !== WORKFLOWS) return undefined
    }
    for (const place of places) {
      if (place === ENVIRONMENTS) environments = this.#scanAt(place, ignores, environments)
      else {
        const unit = this.#scanAt(`${WORKFLOWS}/${place}`, ignores, workflows.get(place))
        if (unit) workflows.set(place, unit)
        else workflows.delete(place)
      }
    }
    return { ...before, environments, workflows }
  }

  #scanAt(path: string, ignores: Ignores, before: Unit | undefined): Unit | undefined {
    const found = lstatSync(join(this.#root, path), { throwIfNoEntry: false })
    if (!found) return undefined
    const isDirectory = found.isDirectory()
    if (!isWanted(path, isDirectory, ignores)) return undefined
    return scanUnit(path, { root: this.#root, ignores }, { before, isDirectory })
  }

  async #indexUnlocked(): Promise<void> {
    const lock = join(this.#location.gitDir, 'index.lock')
    for (let waited = 0; waited < INDEX_LOCK_WAIT_MS; waited += INDEX_LOCK_POLL_MS) {
      if (!(await stat(lock).catch(ignoreMissing))) return
      await pause(INDEX_LOCK_POLL_MS)
    }
  }
}

function revisionTree(root: string, head: Revision | null, seen: Seen): RevisionTree {
  const { environments, instead, workflows } = seen
  const units = [...workflows.values()]
  const children = units.map(({ entry }) => entry)
  const files = environments?.files ?? []
  const listed = new Map<string, Entry>()
  const list = (entries: readonly Entry[]) => {
    for (const entry of entries) listed.set(entry.blob, entry)
    return entries
  }
  const find = (id: string) => {
    if (!listed.has(id)) list([...files, ...units.flatMap((unit) => unit.files)])
    return listed.get(id)
  }
  return {
    revision: `${head ?? UNBORN}+${treeId(topOf(seen)).slice(0, 12)}` as Revision,
    message: '',
    directories: new Map(
      children.filter(({ mode }) => mode === TREE_MODE).map(({ name, id }) => [name, id]),
    ),
    strays: [environments, instead, ...units].flatMap((unit) =>
      unit && unit.entry.mode !== TREE_MODE ? unit.files : [],
    ),
    environments: list(files.filter(({ path }) => /^environments\/[^/]+$/.test(path))),
    environmentsTree: environments?.entry.id ?? null,
    list(directory) {
      const unit = workflows.get(directory)
      const entries = unit?.entry.mode === TREE_MODE ? unit.files : []
      return Promise.resolve(
        list(entries.toSorted((one, other) => (one.path < other.path ? -1 : 1))),
      )
    },
    async read(blobs) {
      await turn()
      return new Map([...new Set(blobs)].map((id) => [id, contentOf(root, id, find(id))]))
    },
  }
}

/** The lines of the root's tree that count. */
function topOf({ environments, instead, workflows }: Seen): readonly TreeEntry[] {
  const top = [environments, instead].flatMap((unit) => (unit ? [unit.entry] : []))
  if (workflows.size === 0) return top
  const children = Array.from(workflows.values(), ({ entry }) => entry)
  return [...top, { name: WORKFLOWS, mode: TREE_MODE, id: treeId(children) }]
}

function contentOf(root: string, id: string, entry: Entry | undefined): Uint8Array {
  if (!entry)
    throw new RetryableFailure(`no file of the working tree ${root} has the content ${id}`)
  return entry.mode === SUBMODULE_MODE ? new Uint8Array() : readScanned(root, entry)
}
