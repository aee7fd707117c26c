import type { Queryable, Transaction } from '../db/database.ts'
import { inOrder, newestFirst, type Place } from '../db/pages.ts'
import { sql } from '../db/sql.ts'
import { newRowId, type EnvironmentName, type WorkflowKey } from '../ids.ts'

/** A user in an audience, at most once for each tenant and once for none. */
export interface Membership {
  readonly user: string
  readonly tenant: string | null
}

export interface Member extends Membership {
  /** Time-ordered. */
  readonly id: string
  readonly addedAt: Date
}

/** An audience of an environment. */
export interface AudienceRef {
  readonly environment: EnvironmentName
  readonly audience: string
}

/** The workflows that run for whoever joins an audience. */
export async function listAudienceWorkflows(
  db: Queryable,
  { environment, audience }: AudienceRef,
): Promise<readonly WorkflowKey[]> {
  const rows = await db.query<{ readonly key: WorkflowKey }>(sql`
    select w.key
    from versions v
    join workflows w on w.environment = ${environment} and w.key = v.key and w.version_id = v.id
    where v.workflow -> 'trigger' -> 'audiences' ? ${audience} and w.archived_at is null
    order by w.key
  `)
  return rows.map(({ key }) => key)
}

/** Whether an audience was made by adding to it. */
export async function isAudienceKept(
  db: Queryable,
  { environment, audience }: AudienceRef,
): Promise<boolean> {
  const rows = await db.query(sql`
    select key from audiences where environment = ${environment} and key = ${audience}
  `)
  return rows.length > 0
}

/** Keeps an audience; nothing where it is kept already. */
export async function keepAudience(
  tx: Transaction,
  { environment, audience }: AudienceRef,
  now: Date,
): Promise<void> {
  await tx.query(sql`
    insert into audiences (environment, key, created_at)
    values (${environment}, ${audience}, ${now})
    on conflict do nothing
  `)
}

/** Adds members; answers those who were none before. */
export async function addMembers(
  tx: Transaction,
  { environment, audience }: AudienceRef,
  members: readonly Membership[],
  now: Date,
): Promise<readonly Membership[]> {
  const rows = await tx.query<{ readonly user: string; readonly tenant: string }>(sql`
    insert into audience_members (environment, audience, user_id, tenant, id, added_at)
    select ${environment}, ${audience}, i.user_id, i.tenant, i.id, ${now}
    from unnest(${members.map(({ user }) => user)}::text[],
      ${members.map(({ tenant }) => tenant ?? '')}::text[],
      ${members.map(() => newRowId())}::uuid[]) as i (user_id, tenant, id)
    order by i.user_id, i.tenant
    on conflict on constraint audience_members_pkey do nothing
    returning user_id as user, tenant
  `)
  return rows.map(({ user, tenant }) => ({ user, tenant: tenant || null }))
}

/** Ends memberships; those that are not there are passed over. */
export async function removeMembers(
  tx: Transaction,
  { environment, audience }: AudienceRef,
  members: readonly Membership[],
): Promise<void> {
  await tx.query(sql`
    delete from audience_members m
    using unnest(${members.map(({ user }) => user)}::text[],
      ${members.map(({ tenant }) => tenant ?? '')}::text[]) as i (user_id, tenant)
    where m.environment = ${environment} and m.audience = ${audience}
      and m.user_id = i.user_id and m.tenant = i.tenant
  `)
}

interface MemberRow {
  readonly id: string
  readonly user: string
  readonly tenant: string
  readonly addedAt: Date
}

/** The members of an audience, newest first. */
export async function listMembers(
  db: Queryable,
  { environment, audience }: AudienceRef,
  place: Place,
): Promise<readonly Member[]> {
  const rows = await db.query<MemberRow>(sql`
    select id, user_id as user, tenant, added_at as "addedAt"
    from audience_members
    where environment = ${environment} and audience = ${audience} ${newestFirst(sql`id`, place)}
  `)
  return inOrder(rows, place).map((row) => ({ ...row, tenant: row.tenant || null }))
}

/** In which audiences these users are. */
export async function loadMemberships(
  db: Queryable,
  environment: EnvironmentName,
  users: readonly string[],
): Promise<readonly (Membership & { readonly audience: string })[]> {
  const rows = await db.query<{
    readonly user: string
    readonly audience: string
    readonly tenant: string
  }>(sql`
    select user_id as user, audience, tenant
    from audience_members
    where environment = ${environment} and user_id = any(${users}::text[])
    order by user_id, audience, tenant
  `)
  return rows.map((row) => ({ ...row, tenant: row.tenant || null }))
}

/** Ends all memberships of a user that is deleted. */
export async function forgetMember(
  tx: Queryable,
  environment: EnvironmentName,
  user: string,
): Promise<void> {
  await tx.query(sql`
    delete from audience_members where environment = ${environment} and user_id = ${user}
  `)
}

/** Gives the memberships of one user to another, but for those that this one has itself. Nobody joins by it. */
export async function moveMemberships(
  tx: Transaction,
  environment: EnvironmentName,
  { from, into }: { readonly from: string; readonly into: string },
): Promise<void> {
  await tx.query(sql`
    with moved as (
      delete from audience_members
      where environment = ${environment} and user_id = ${from}
      returning audience, tenant, id, added_at
    )
    insert into audience_members (environment, audience, user_id, tenant, id, added_at)
    select ${environment}, audience, ${into}, tenant, id, added_at
    from moved
    order by audience, tenant
    on conflict on constraint audience_members_pkey do nothing
  `)
}
