import type { Queryable } from '../../db/database.ts'
import { sql } from '../../db/sql.ts'
import { RequestError } from '../../errors.ts'
import type { EnvironmentName } from '../../ids.ts'
import type { ProvenSource } from '../../runs/source-event.ts'
import { secretsOfSource, type Source } from '../../workflow/sources.ts'
import type { ApiServices } from '../services.ts'

/** A source that may have sent something, with the secrets that it proves itself with. */
export interface Candidate extends ProvenSource {
  readonly secrets: readonly string[]
}

interface Row {
  readonly name: EnvironmentName
  readonly row: string
  readonly sources: Readonly<Record<string, Source>> | null
}

/** Settings are large and change seldom: they are read again only when the row has changed. */
const caches = new WeakMap<Queryable, Map<string, Row>>()

/** Every source of every applied environment, with the secrets that are there. */
export async function listSources(
  db: Queryable,
  { findSecret }: ApiServices,
): Promise<readonly Candidate[]> {
  const known = caches.get(db) ?? new Map<string, Row>()
  caches.set(db, known)
  const found = await db.query<Row>(sql`
    select name, xmin::text || ctid::text as row,
      case when name || ' ' || xmin::text || ctid::text <> all (${[...known.keys()]}::text[])
        then settings -> 'sources' end as sources
    from environments
    where sequence > 0
    order by name
  `)
  const rows = found.map((row) => known.get(`${row.name} ${row.row}`) ?? row)
  known.clear()
  for (const row of rows) known.set(`${row.name} ${row.row}`, row)
  return rows.flatMap(({ name: environment, sources }) =>
    Object.entries(sources ?? {}).map(([key, source]) => {
      const names = secretsOfSource(source).map(({ secret }) => secret)
      const secrets = names.flatMap((name) => findSecret?.(environment, name) ?? [])
      return { environment, key, source, secrets }
    }),
  )
}

/** The one source that has proved itself. Throws a `RequestError`: 401 where none has, 422 where several have. */
export function onlyProven(proven: readonly Candidate[], message: string): Candidate {
  const [first, second] = proven
  if (!first) throw new RequestError(401, 'webhook_signature', message)
  if (!second) return first
  const several = 'several environments have this secret: add ?environment=<name>'
  throw new RequestError(422, 'environment_required', several)
}
