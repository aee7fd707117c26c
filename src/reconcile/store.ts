import type { Queryable, Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import type { EnvironmentName, Revision, VersionId, WorkflowKey } from '../ids.ts'
import type { Diagnostic } from '../workflow/diagnostic.ts'
import type { Declaration, EnvironmentSettings, Policy } from '../workflow/environment.ts'
import type { ChannelUse, VariableUse } from '../workflow/workflow.ts'
import type { Drift } from './drift-fight.ts'
import type { KnownWorkflow, Parts } from './plan.ts'
import type { Pin, Reason, State, Status, Suspension } from './status.ts'
import type { PackedVersion } from './versions.ts'

/** What Postgres knows about an environment when a look begins. */
export interface KnownEnvironment {
  readonly name: EnvironmentName
  readonly gitRef: string
  readonly declared: boolean
  readonly policy: Policy
  /** What guarded it before: for the default branch, what was declared when its last revision was applied. */
  readonly policyBefore: Policy
  readonly policyRevision: Revision | null
  /** Whether what it follows is the branch that declares its policy. */
  readonly followsDefault: boolean
  readonly state: State
  readonly reason: Reason
  readonly message: string
  readonly sequence: string
  readonly observed: Revision | null
  readonly attempted: Revision | null
  readonly settings: EnvironmentSettings | null
  readonly parts: Parts
  readonly diagnostics: readonly Diagnostic[]
  readonly suspension: Suspension | null
  readonly retirement: Suspension | null
  readonly pin: Pin | null
  /** The highest sequence that came from Git; less than `sequence` where a pin was applied since. */
  readonly followed: string
  /** Differs with each change of a brake that holds the environment. */
  readonly hold: string
  /** What others have changed in our tables, and what came of it. */
  readonly drift: Drift | null
}

/** The state of an environment as it was written last. */
export function statusOf({ state, reason, message }: KnownEnvironment): Status {
  return { state, reason, message } as Status
}

/** More are of no use to anyone; the state's message has the whole count. */
const DIAGNOSTICS_MAX = 200
/** Handled requests are kept this long for those who still ask about them. */
const REQUESTS_KEPT_MS = 24 * 3600 * 1000

export async function listKnownEnvironments(database: Queryable): Promise<KnownEnvironment[]> {
  return database.query<KnownEnvironment>(sql`
    select name, git_ref as "gitRef", declared, policy, policy_before as "policyBefore",
      policy_revision as "policyRevision",
      exists (select from reconcilers r where r.default_branch = git_ref) as "followsDefault", state, reason, message, sequence::text as sequence,
      observed_revision as observed, attempted_revision as attempted, settings, parts, diagnostics,
      suspension, retirement, pin, drift, followed_sequence::text as followed,
      concat_ws(' ', suspension::text, retirement::text, pin::text) as hold
    from environments
    order by name`)
}

/** Whence declarations are taken. */
export interface Declaring {
  /** What a new environment begins as. */
  readonly status: Status
  /** The default branch and the revision of it that says so; null where none does. */
  readonly branch: string | null
  readonly revision: Revision | null
  readonly now: Date
}

/** Adds what is new and takes over the refs and policies of what is known; rows that say so already are left alone. */
export async function saveDeclarations(
  tx: Transaction,
  declarations: readonly Declaration[],
  { status, branch, revision, now }: Declaring,
): Promise<void> {
  await tx.query(sql`
    insert into environments (name, git_ref, declared, policy, state, reason, message, updated_at)
    select name, ref, true, policy, ${status.state}, ${status.reason}, ${status.message}, ${now}
    from unnest(
      ${declarations.map(({ name }) => name)}::text[],
      ${declarations.map(({ ref }) => ref)}::text[],
      ${declarations.map(({ policy }) => JSON.stringify(policy))}::jsonb[]
    ) as d (name, ref, policy)
    where not exists (
      select from environments e
      where e.name = d.name and e.declared and e.git_ref = d.ref and e.policy = d.policy
    )
    on conflict (name) do update
    set git_ref = excluded.git_ref, declared = true, policy = excluded.policy,
      policy_before = case when environments.policy = excluded.policy
          or (environments.git_ref = ${branch} and environments.sequence > 0)
        then environments.policy_before else environments.policy end,
      policy_revision = case when environments.policy = excluded.policy
        then environments.policy_revision else ${revision} end,
      updated_at = excluded.updated_at`)
}

/** Marks every environment that is not among `names` as no longer declared. */
export async function saveUndeclared(
  tx: Transaction,
  names: readonly EnvironmentName[],
  now: Date,
): Promise<void> {
  await tx.query(sql`
    update environments
    set declared = false, updated_at = ${now}
    where declared and name <> all (${names}::text[])`)
}

/** Makes a broken declaration visible that has no environment yet. It is not followed. */
export async function saveBrokenDeclaration(
  tx: Transaction,
  name: EnvironmentName,
  { status, diagnostics, now }: Look & { readonly now: Date },
): Promise<void> {
  await tx.query(sql`
    insert into environments (name, git_ref, declared, state, reason, message, diagnostics, updated_at)
    values (${name}, ${name}, false, ${status.state}, ${status.reason}, ${storable(status.message)},
      ${storedDiagnostics(diagnostics)}::jsonb, ${now})
    on conflict (name) do update
    set message = excluded.message, diagnostics = excluded.diagnostics, updated_at = excluded.updated_at
    where environments.sequence = 0 and not environments.declared`)
}

/**
 * Forgets an environment that is not declared and of which no revision was ever read. Answers
 * whether it is gone: one that somebody has switched, braked or given recipients stays.
 */
export async function dropNeverRead(tx: Transaction, name: EnvironmentName): Promise<boolean> {
  await lockEnvironment(tx, name)
  await tx.query(sql`delete from reconcile_requests where environment = ${name}`)
  const rows = await tx.query(sql`
    delete from environments e
    where e.name = ${name} and not e.declared and e.sequence = 0 and e.attempted_revision is null
      and not exists (select from switches s where s.environment = ${name})
      and not exists (select from switch_events s where s.environment = ${name})
      and not exists (select from brake_events b where b.environment = ${name})
      and not exists (select from recipients r where r.environment = ${name})
    returning e.name`)
  return rows.length > 0
}

/** What a look found out. */
export interface Look {
  readonly status: Status
  readonly diagnostics: readonly Diagnostic[]
}

/** Writes the state of an environment; `attempted` null leaves the attempted revision as it is. */
export async function saveStatus(
  tx: Transaction,
  environment: EnvironmentName,
  {
    status,
    diagnostics,
    attempted,
    now,
  }: Look & { readonly attempted: Revision | null; readonly now: Date },
): Promise<void> {
  await tx.query(sql`
    update environments
    set state = ${status.state}, reason = ${status.reason}, message = ${storable(status.message)},
      diagnostics = ${storedDiagnostics(diagnostics)}::jsonb,
      attempted_revision = coalesce(${attempted}, attempted_revision), updated_at = ${now}
    where name = ${environment}`)
}

/** Holds the environment's row, and answers what an application of a revision depends on. */
export async function lockEnvironment(
  tx: Transaction,
  environment: EnvironmentName,
): Promise<Pick<KnownEnvironment, 'sequence' | 'hold'> | undefined> {
  const [row] = await tx.query<Pick<KnownEnvironment, 'sequence' | 'hold'>>(sql`
    select sequence::text as sequence,
      concat_ws(' ', suspension::text, retirement::text, pin::text) as hold
    from environments
    where name = ${environment}
    for update`)
  return row
}

export async function listKnownWorkflows(
  database: Queryable,
  environment: EnvironmentName,
): Promise<KnownWorkflow[]> {
  return database.query<KnownWorkflow>(sql`
    select key, version_id as "versionId", tree, archived_at is not null as archived
    from workflows
    where environment = ${environment}`)
}

/** The live workflows whose version holds one of these files. */
export async function listUsersOfParts(
  database: Queryable,
  environment: EnvironmentName,
  paths: readonly string[],
): Promise<WorkflowKey[]> {
  const rows = await database.query<{ key: WorkflowKey }>(sql`
    select w.key
    from workflows w
    join versions v on v.id = w.version_id
    where w.environment = ${environment} and w.archived_at is null and v.blobs ?| ${paths}::text[]`)
  return rows.map(({ key }) => key)
}

/** What a version demands of its environment. */
export interface VersionUses {
  readonly key: WorkflowKey
  readonly channelUses: readonly ChannelUse[]
  readonly variableUses: readonly VariableUse[]
}

/** The demands of all live workflows, so that new settings can be checked without reading Git. */
export async function listUses(
  database: Queryable,
  environment: EnvironmentName,
): Promise<VersionUses[]> {
  return database.query<VersionUses>(sql`
    select w.key, v.channel_uses as "channelUses", v.variable_uses as "variableUses"
    from workflows w
    join versions v on v.id = w.version_id
    where w.environment = ${environment} and w.archived_at is null`)
}

/** The categories of all live workflows. */
export async function listCategories(
  database: Queryable,
  environment: EnvironmentName,
): Promise<{ readonly key: WorkflowKey; readonly categories: readonly string[] }[]> {
  return database.query(sql`
    select w.key, coalesce(v.workflow -> 'categories', '[]') as categories
    from workflows w
    join versions v on v.id = w.version_id
    where w.environment = ${environment} and w.archived_at is null`)
}

/** Adds versions that are new; one with the same content is the same version. */
export async function saveVersions(
  tx: Transaction,
  versions: readonly PackedVersion[],
  now: Date,
): Promise<void> {
  const column = (name: keyof PackedVersion['json']) => versions.map(({ json }) => json[name])
  await tx.query(sql`
    insert into versions (id, key, workflow, files, blobs, channel_uses, variable_uses, created_at, digest)
    select id, key, workflow, files, blobs, channel_uses, variable_uses, ${now},
      version_digest(key, workflow, files, blobs, channel_uses, variable_uses)
    from unnest(
      ${versions.map(({ id }) => id)}::text[],
      ${versions.map(({ key }) => key)}::text[],
      ${column('workflow')}::jsonb[],
      ${column('files')}::jsonb[],
      ${column('blobs')}::jsonb[],
      ${column('channelUses')}::jsonb[],
      ${column('variableUses')}::jsonb[]
    ) as v (id, key, workflow, files, blobs, channel_uses, variable_uses)
    on conflict (id) do nothing`)
}

/** One workflow at the version that a revision gives it. */
export interface WorkflowRow {
  readonly key: WorkflowKey
  readonly versionId: VersionId
  readonly tree: string
}

export interface AppliedAt {
  readonly environment: EnvironmentName
  readonly sequence: string
  readonly now: Date
}

/** Makes these versions the live ones; brings back what was archived. */
export async function saveWorkflows(
  tx: Transaction,
  { environment, sequence, now }: AppliedAt,
  rows: readonly WorkflowRow[],
): Promise<void> {
  await tx.query(sql`
    insert into workflows (environment, key, version_id, tree, sequence, created_at, updated_at)
    select ${environment}, key, version_id, tree, ${sequence}, ${now}, ${now}
    from unnest(
      ${rows.map(({ key }) => key)}::text[],
      ${rows.map(({ versionId }) => versionId)}::text[],
      ${rows.map(({ tree }) => tree)}::text[]
    ) as w (key, version_id, tree)
    on conflict (environment, key) do update
    set version_id = excluded.version_id, tree = excluded.tree, sequence = excluded.sequence,
      archived_at = null, updated_at = excluded.updated_at`)
}

export async function archiveWorkflows(
  tx: Transaction,
  { environment, sequence, now }: AppliedAt,
  keys: readonly WorkflowKey[],
): Promise<void> {
  await tx.query(sql`
    update workflows
    set archived_at = ${now}, sequence = ${sequence}, updated_at = ${now}
    where environment = ${environment} and key = any (${keys}::text[]) and archived_at is null`)
}

/** What an applied revision leaves behind beside its workflows. */
export interface AppliedRevision extends Look {
  readonly origin: 'git' | 'pin'
  readonly revision: Revision
  readonly rewrittenFrom: Revision | null
  readonly signer: string | null
  readonly settings: EnvironmentSettings
  readonly parts: Parts
  readonly added: readonly WorkflowKey[]
  readonly changed: readonly WorkflowKey[]
  readonly archived: readonly WorkflowKey[]
}

/** Writes the history entry of a revision and makes it the applied one of its environment. */
export async function saveRevision(
  tx: Transaction,
  { environment, sequence, now }: AppliedAt,
  revision: AppliedRevision,
): Promise<void> {
  const settings = JSON.stringify(revision.settings)
  const parts = JSON.stringify(revision.parts)
  const diagnostics = storedDiagnostics(revision.diagnostics)
  await tx.query(sql`
    insert into revisions (environment, sequence, revision, settings, parts, diagnostics,
      added, changed, archived, applied_at, origin, rewritten_from, signer)
    values (${environment}, ${sequence}, ${revision.revision}, ${settings}::jsonb, ${parts}::jsonb,
      ${diagnostics}::jsonb, ${revision.added}::text[], ${revision.changed}::text[],
      ${revision.archived}::text[], ${now}, ${revision.origin}, ${revision.rewrittenFrom},
      ${revision.signer === null ? null : storable(revision.signer)})`)
  const { state, reason, message } = revision.status
  await tx.query(sql`
    update environments
    set sequence = ${sequence}, observed_revision = ${revision.revision}, attempted_revision = ${revision.revision},
      applied_at = ${now}, state = ${state}, reason = ${reason}, message = ${message},
      followed_sequence = case when ${revision.origin === 'git'} then ${sequence} else followed_sequence end,
      policy_before = case when ${revision.origin === 'git'} then policy else policy_before end,
      settings = ${settings}::jsonb, parts = ${parts}::jsonb,
      diagnostics = ${diagnostics}::jsonb, updated_at = ${now}
    where name = ${environment}`)
}

/** Notes that the applied revision, which a pin has brought, is what the branch says by now. */
export async function saveFollowed(
  tx: Transaction,
  environment: EnvironmentName,
  sequence: string,
): Promise<void> {
  await tx.query(sql`
    update environments
    set followed_sequence = sequence
    where name = ${environment} and sequence = ${sequence}`)
}

/** A request to look now that has not been answered. */
export interface OpenRequest {
  readonly environment: EnvironmentName
  readonly id: string
}

/** Oldest first. */
export async function listOpenRequests(database: Queryable): Promise<OpenRequest[]> {
  return database.query<OpenRequest>(sql`
    select environment, id from reconcile_requests where handled_at is null order by id`)
}

/** Echoes the newest of these requests of an environment, and forgets old ones. */
export async function saveHandled(
  tx: Transaction,
  environment: EnvironmentName,
  { ids, now }: { readonly ids: readonly string[]; readonly now: Date },
): Promise<void> {
  const old = new Date(now.getTime() - REQUESTS_KEPT_MS)
  await tx.query(sql`
    update reconcile_requests set handled_at = ${now}
    where environment = ${environment} and id = any (${ids}::uuid[])`)
  await tx.query(sql`
    update environments set last_handled_request = ${ids.at(-1)} where name = ${environment}`)
  await tx.query(sql`
    delete from reconcile_requests where environment = ${environment} and handled_at < ${old}`)
}

function storedDiagnostics(diagnostics: readonly Diagnostic[]): string {
  return JSON.stringify(diagnostics.slice(0, DIAGNOSTICS_MAX), (_, value: unknown) =>
    typeof value === 'string' ? storable(value) : value,
  )
}

/** A diagnostic may quote what a file says, and Postgres stores neither NUL nor half a surrogate pair. */
function storable(text: string): string {
  return text.replaceAll('\0', '\uFFFD').toWellFormed()
}
