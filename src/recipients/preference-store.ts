import type { Queryable, Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import type { EnvironmentName } from '../ids.ts'
import type { PreferenceSet } from '../language/preferences.ts'
import { mergeProperties, type Properties } from './merge.ts'
import { invalid, recipientKey, USERS, type RecipientRef } from './recipient.ts'

/** One set of one recipient. */
export interface StoredPreferences extends RecipientRef {
  /** `default`, or the id of a tenant. */
  readonly set: string
  readonly settings: PreferenceSet
}

/** What a request says of one set. */
export interface PreferenceWrite {
  readonly set: string
  /** Where it is merged, null clears. */
  readonly settings: Properties
  readonly mode: 'merge' | 'replace'
}

/** One set, as JSON. */
export const PREFERENCE_BYTES_MAX = 256 * 1024
/** Sets of one recipient. */
export const PREFERENCE_SETS_MAX = 1_000

/** Those of these sets that there are, in no order. */
export async function loadPreferences(
  tx: Queryable,
  environment: EnvironmentName,
  named: readonly (RecipientRef & { readonly set: string })[],
): Promise<StoredPreferences[]> {
  return await tx.query<StoredPreferences>(sql`
    select p.collection, p.recipient as id, p.id as set, p.settings
    from (
      select distinct collection, recipient, id
      from unnest(
        ${named.map(({ collection }) => collection)}::text[],
        ${named.map(({ id }) => id)}::text[],
        ${named.map(({ set }) => set)}::text[]
      ) as n (collection, recipient, id)
    ) n
    -- Lateral and limited, so that each is looked up by its key whatever the statistics say.
    cross join lateral (
      select collection, recipient, id, settings
      from preference_sets
      where environment = ${environment} and collection = n.collection
        and recipient = n.recipient and id = n.id
      limit 1
    ) p
  `)
}

/** All sets of one recipient, by their ids. */
export async function listPreferences(
  tx: Queryable,
  environment: EnvironmentName,
  { collection, id }: RecipientRef,
): Promise<StoredPreferences[]> {
  return await tx.query<StoredPreferences>(sql`
    select collection, recipient as id, id as set, settings
    from preference_sets
    where environment = ${environment} and collection = ${collection} and recipient = ${id}
    order by preference_sets.id
  `)
}

/**
 * Writes sets of recipients whose rows the transaction has locked, in order: one that is named twice gets both.
 * Throws a 422 `RequestError` where a set grows beyond 256 kB, or a recipient has too many.
 */
export async function savePreferences(
  tx: Transaction,
  environment: EnvironmentName,
  writes: readonly (RecipientRef & PreferenceWrite)[],
  now: Date,
): Promise<void> {
  if (writes.length === 0) return
  const known = await loadPreferences(tx, environment, writes)
  const before = new Map(known.map((one) => [keyOf(one), one.settings]))
  const after = new Map<string, StoredPreferences>()
  for (const write of writes) {
    const key = keyOf(write)
    const base = write.mode === 'merge' ? (after.get(key)?.settings ?? before.get(key) ?? {}) : {}
    const settings = mergeProperties(base as Properties, write.settings) as PreferenceSet
    const { collection, id, set } = write
    after.set(key, { collection, id, set, settings })
  }
  const rows = [...after.values()]
  for (const row of rows) checkSize(row)
  await upsert(tx, environment, rows, now)
  if (rows.some((row) => !before.has(keyOf(row)))) await checkCount(tx, environment, rows)
}

function keyOf(one: RecipientRef & { readonly set: string }): string {
  return JSON.stringify([one.collection, one.id, one.set])
}

function checkSize({ set, settings, ...ref }: StoredPreferences): void {
  if (Buffer.byteLength(JSON.stringify(settings)) <= PREFERENCE_BYTES_MAX) return
  throw invalid('', `the preferences "${set}" of ${nameOf(ref)} are larger than 256 kB`)
}

function nameOf({ collection, id }: RecipientRef): string {
  return collection === USERS ? `the user ${id}` : recipientKey({ collection, id })
}

async function upsert(
  tx: Transaction,
  environment: EnvironmentName,
  rows: readonly StoredPreferences[],
  now: Date,
): Promise<void> {
  await tx.query(sql`
    insert into preference_sets (environment, collection, recipient, id, settings, inserted_at, updated_at)
    select ${environment}, collection, id, set, settings, ${now}, ${now}
    from json_to_recordset(${JSON.stringify(rows)}::json) as p (
      collection text, id text, set text, settings jsonb
    )
    order by collection, id, set
    on conflict on constraint preference_sets_pkey do update
    set settings = excluded.settings, updated_at = excluded.updated_at
  `)
}

async function checkCount(
  tx: Transaction,
  environment: EnvironmentName,
  rows: readonly RecipientRef[],
): Promise<void> {
  const [full] = await tx.query<RecipientRef>(sql`
    select n.collection, n.id
    from (
      select distinct collection, id
      from unnest(
        ${rows.map(({ collection }) => collection)}::text[], ${rows.map(({ id }) => id)}::text[]
      ) as n (collection, id)
    ) n
    cross join lateral (
      select count(*) as sets from (
        select from preference_sets
        where environment = ${environment} and collection = n.collection and recipient = n.id
        limit ${PREFERENCE_SETS_MAX + 1}
      ) counted
    ) c
    where c.sets > ${PREFERENCE_SETS_MAX}
    limit 1
  `)
  if (full)
    throw invalid('', `${nameOf(full)} has more than ${PREFERENCE_SETS_MAX} sets of preferences`)
}

/** Removes one set, or, where none is named, all sets of a recipient. */
export async function deletePreferences(
  tx: Queryable,
  environment: EnvironmentName,
  { collection, id }: RecipientRef,
  set: string | null,
): Promise<void> {
  await tx.query(sql`
    delete from preference_sets
    where environment = ${environment} and collection = ${collection} and recipient = ${id}
      and (${set}::text is null or id = ${set})
  `)
}

/** Lays the sets of one user under those of another, whose own settings win; the rows of both are locked. */
export async function mergePreferences(
  tx: Transaction,
  environment: EnvironmentName,
  { from, into }: { readonly from: string; readonly into: string },
  now: Date,
): Promise<void> {
  const theirs = await listPreferences(tx, environment, { collection: USERS, id: from })
  if (theirs.length === 0) return
  const own = await listPreferences(tx, environment, { collection: USERS, id: into })
  const bySet = new Map(own.map(({ set, settings }) => [set, settings]))
  const writes = theirs.map(({ set, settings }) => ({
    collection: USERS,
    id: into,
    set,
    settings: mergeProperties(settings as Properties, (bySet.get(set) ?? {}) as Properties),
    mode: 'replace' as const,
  }))
  await savePreferences(tx, environment, writes, now)
}
