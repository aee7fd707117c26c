import type { Database, Queryable } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import type { Topics } from '../../src/db/topics.ts'
import { openSources } from '../../src/git/open.ts'
import type { CommitSource, RevisionTree } from '../../src/git/source.ts'
import { newId } from '../../src/ids.ts'
import type { EnvironmentName, ProcessId } from '../../src/ids.ts'
import { silentLog } from '../../src/log.ts'
import { Reconciler } from '../../src/reconcile/reconciler.ts'
import type { ReconcilerOptions } from '../../src/reconcile/reconciler.ts'
import { findEnvironment, listWorkflows } from '../../src/reconcile/read.ts'
import type { EnvironmentView } from '../../src/reconcile/read.ts'
import type { ProviderShape } from '../../src/workflow/environment-schema.ts'
import { testClock } from '../support/clock.ts'
import type { TestClock } from '../support/clock.ts'

/** Topics that nobody sends on, for tests that call `pass` themselves. */
export const quietTopics: Topics = {
  listen: () => Promise.resolve({ close: () => Promise.resolve() }),
  close: () => Promise.resolve(),
  [Symbol.asyncDispose]: () => Promise.resolve(),
}

/** The provider of the feed, as far as environment files are checked against it. */
const feed: ProviderShape = {
  name: 'in_app',
  type: 'in_app',
  schema: { required: [], properties: {} },
  example: {},
}

/** Counts the blobs that are read through it. */
export interface CountingSource extends CommitSource {
  readonly blobs: readonly string[]
}

export function counting(source: CommitSource): CountingSource {
  const blobs: string[] = []
  return {
    kind: 'repository',
    get location() {
      return source.location
    },
    blobs,
    refs: () => source.refs(),
    commit: (id) => source.commit(id),
    size: () => source.size?.() ?? { packs: 0, loose: 0 },
    async tree(revision): Promise<RevisionTree> {
      const tree = await source.tree(revision)
      return {
        ...tree,
        read(ids) {
          const all = [...ids]
          blobs.push(...all)
          return tree.read(all)
        },
      }
    },
  }
}

export interface SceneOptions extends Partial<ReconcilerOptions> {
  readonly development?: boolean
}

export interface Scene {
  readonly reconciler: Reconciler
  readonly source: CountingSource
  readonly clock: TestClock
}

/** A reconciler of the repository at `path`; `pass` is called by the test. */
export async function scene(
  database: Database,
  path: string,
  { development = false, ...options }: SceneOptions = {},
): Promise<Scene> {
  const { repository, workingTree } = await openSources(path, { development })
  const source = counting(repository)
  const clock = testClock('2026-03-01T12:00:00Z')
  const reconciler = new Reconciler({
    database,
    clock,
    repository: source,
    workingTree,
    defaultBranch: null,
    providers: [feed],
    hasSecret: () => true,
    log: silentLog,
    settleMs: 0,
    process: newId<ProcessId>(),
    topics: quietTopics,
    pollMs: 3_600_000,
    debounceMs: 1,
    ...options,
  })
  return { reconciler, source, clock }
}

/** Leaves nothing of another test behind. */
export async function clear(database: Database): Promise<void> {
  await database.query(sql`truncate environments, reconcilers, versions cascade`)
}

export async function environment(database: Queryable, name: string): Promise<EnvironmentView> {
  const found = await findEnvironment(database, name)
  if (!found) throw new Error(`there is no environment ${name}`)
  return found
}

/** Key → version id of the live workflows. */
export async function live(
  database: Database,
  name: string,
): Promise<Readonly<Record<string, string>>> {
  const rows = await listWorkflows(database, name as EnvironmentName, { limit: 100_000 })
  return Object.fromEntries(rows.map(({ key, versionId }) => [key, versionId]))
}

/** A workflow file that shows `text` in the feed. */
export function workflow(text: string): string {
  return `name: ${JSON.stringify(text)}\nsteps:\n  - ref: feed\n    type: in_app\n    body: ${JSON.stringify(text)}\n`
}
