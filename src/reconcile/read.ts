import type { Queryable, Transaction } from '../db/database.ts'
import { inOrder, lowestFirst, type Place } from '../db/pages.ts'
import { sql, type Sql } from '../db/sql.ts'
import { notify } from '../db/topics.ts'
import { newRowId } from '../ids.ts'
import type { EnvironmentName, Revision, VersionId, WorkflowKey } from '../ids.ts'
import type { Diagnostic } from '../workflow/diagnostic.ts'
import type { Workflow } from '../workflow/workflow.ts'
import type { Drift } from './drift-fight.ts'
import type { Pin, Reason, State, Suspension } from './status.ts'

/** Where processes are told that somebody asks for a look. */
export const RECONCILE_TOPIC = 'reconcile'
/** What is said there: a person or a program asks, a Git host has told of a push, or somebody wants a plan. */
export const ASKED = 'request'
export const HINTED = 'webhook'
export const PLAN_WANTED = 'plan'

/** An environment as the API shows it. */
export interface EnvironmentView {
  readonly name: EnvironmentName
  readonly ref: string
  readonly state: State
  readonly reason: Reason
  readonly message: string
  readonly observedRevision: Revision | null
  readonly attemptedRevision: Revision | null
  readonly appliedAt: Date | null
  readonly lastHandledRequest: string | null
  /** How many workflows are live. */
  readonly workflows: number
  readonly diagnostics: readonly Diagnostic[]
  readonly suspension: Suspension | null
  readonly retirement: Suspension | null
  readonly pin: Pin | null
  readonly drift: Drift | null
}

const ENVIRONMENTS = sql`
  select e.name, e.git_ref as ref, e.state, e.reason, e.message,
    e.observed_revision as "observedRevision", e.attempted_revision as "attemptedRevision",
    e.applied_at as "appliedAt", e.last_handled_request as "lastHandledRequest", e.diagnostics,
    e.suspension, e.retirement, e.pin, e.drift,
    (select count(*)::integer from workflows w where w.environment = e.name and w.archived_at is null) as workflows
  from environments e`

/** All environments that were ever declared, by name; those that are retired only where they are asked for. */
export async function listEnvironments(
  database: Queryable,
  withRetired = false,
): Promise<EnvironmentView[]> {
  return database.query<EnvironmentView>(sql`
    ${ENVIRONMENTS}
    where ${withRetired} or e.retirement is null
    order by e.name`)
}

export async function findEnvironment(
  database: Queryable,
  name: string,
): Promise<EnvironmentView | undefined> {
  const [row] = await database.query<EnvironmentView>(sql`
    ${ENVIRONMENTS}
    where e.name = ${name}`)
  return row
}

/** A workflow as its environment has it now. */
export interface WorkflowView {
  readonly key: WorkflowKey
  readonly versionId: VersionId
  readonly workflow: Workflow
  /** The revision that last changed it here. */
  readonly revision: Revision
  readonly archivedAt: Date | null
  readonly createdAt: Date
  readonly updatedAt: Date
}

/** Workflows as they are shown, of one environment. */
const workflowsOf = (environment: EnvironmentName): Sql => sql`
  select w.key, w.version_id as "versionId", v.workflow, r.revision,
    w.archived_at as "archivedAt", w.created_at as "createdAt", w.updated_at as "updatedAt"
  from workflows w
  join versions v on v.id = w.version_id
  join revisions r on r.environment = w.environment and r.sequence = w.sequence
  where w.environment = ${environment}`

/** The live workflows of an environment, by key. */
export async function listWorkflows(
  database: Queryable,
  environment: EnvironmentName,
  place: Place,
): Promise<WorkflowView[]> {
  const rows = await database.query<WorkflowView>(sql`
    ${workflowsOf(environment)} and w.archived_at is null ${lowestFirst(sql`w.key`, place)}`)
  return inOrder(rows, place)
}

/** One workflow, archived ones included. */
export async function findWorkflow(
  database: Queryable,
  environment: EnvironmentName,
  key: string,
): Promise<WorkflowView | undefined> {
  const [row] = await database.query<WorkflowView>(sql`
    ${workflowsOf(environment)} and w.key = ${key}`)
  return row
}

/** Those of these workflows that an environment ever had, by key. */
export async function findWorkflows(
  database: Queryable,
  environment: EnvironmentName,
  keys: readonly string[],
): Promise<ReadonlyMap<string, WorkflowView>> {
  const rows = await database.query<WorkflowView>(sql`
    ${workflowsOf(environment)} and w.key = any(${keys}::text[])`)
  return new Map(rows.map((row) => [row.key, row]))
}

/**
 * Asks for a look at an environment that exists. Answers the id of the request, which its state
 * echoes as the last handled one when the look is done.
 */
export async function requestReconcile(
  tx: Transaction,
  environment: EnvironmentName,
  now: Date,
): Promise<string> {
  const id = newRowId()
  await tx.query(sql`
    insert into reconcile_requests (environment, id, requested_at)
    values (${environment}, ${id}, ${now})`)
  await notify(tx, RECONCILE_TOPIC, ASKED)
  return id
}
