import { memoized } from '../memo.ts'
import type { Queryable } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import { RequestError } from '../errors.ts'
import type { VersionId, WorkflowKey } from '../ids.ts'
import { compileDataSchema, type CheckData } from '../workflow/data-schema.ts'
import type { Workflow } from '../workflow/workflow.ts'

/** What a run needs of its version: what it does, and the templates it does it with. */
export interface LoadedVersion {
  readonly id: VersionId
  readonly key: WorkflowKey
  readonly workflow: Workflow
  readonly files: Readonly<Record<string, string>>
}

/** Versions are immutable, so what was read once is right for ever; the bound is for memory. */
const CACHED_VERSIONS_MAX = 1_000
const cache = new Map<VersionId, LoadedVersion>()

/** The versions of these ids, in one query for those not read before. Throws where one is missing. */
export async function loadVersions(
  db: Queryable,
  ids: Iterable<VersionId>,
): Promise<ReadonlyMap<VersionId, LoadedVersion>> {
  const found = new Map<VersionId, LoadedVersion>()
  const missing = new Set<VersionId>()
  for (const id of ids) {
    const version = cache.get(id)
    if (version) found.set(id, version)
    else missing.add(id)
  }
  if (missing.size === 0) return found
  const rows = await db.query<LoadedVersion>(sql`
    select id, key, workflow, files from versions where id = any(${[...missing]})
  `)
  for (const version of rows) {
    remember(version)
    found.set(version.id, version)
    missing.delete(version.id)
  }
  if (missing.size > 0) throw new Error(`not in Postgres: version ${[...missing].join(', ')}`)
  return found
}

export async function loadVersion(db: Queryable, id: VersionId): Promise<LoadedVersion> {
  const versions = await loadVersions(db, [id])
  return versions.get(id)!
}

function remember(version: LoadedVersion): void {
  if (cache.size >= CACHED_VERSIONS_MAX) cache.delete(cache.keys().next().value!)
  cache.set(version.id, version)
}

/** Holds a trigger's data to the workflow's schema; 422 `invalid_data` lists each violation. */
export function checkData(version: LoadedVersion, data: unknown): void {
  const found = checkerOf(version)?.(data) ?? []
  const violations = found.map(({ field, message }) => ({ field: `/data${field}`, message }))
  const [first] = violations
  if (!first) return
  const message = `data does not fit the schema of "${version.key}": ${first.field} ${first.message}`
  throw new RequestError(422, 'invalid_data', message, violations)
}

const checkerOf = memoized(({ workflow }: LoadedVersion): CheckData | null => {
  const schema = workflow.trigger?.data_schema
  return schema ? compileDataSchema(schema) : null
})
