import { isUuid, type WorkflowRunId } from '../ids.ts'
import { countRuns, findWorkflowRun, type RunCount, type WorkflowRunRow } from '../runs/read.ts'
import { resourceMissing, toWireReference } from './reference.ts'
import { ok, type ReadRoute } from './route.ts'
import { WorkflowRun } from './shapes/runs.ts'

const find: ReadRoute = {
  id: 'workflowRuns.get',
  summary: 'Shows a trigger, with counts of its runs',
  replies: { 200: WorkflowRun },
  kind: 'read',
  method: 'GET',
  path: '/v1/workflow_runs/:id',
  scope: 'read',
  environment: 'key',
  async handle({ database, environment, params }) {
    const id = params['id'] ?? ''
    const row = isUuid(id)
      ? await findWorkflowRun(database, environment, id as WorkflowRunId)
      : undefined
    if (!row) throw resourceMissing('workflow run', id)
    return ok(toWorkflowRun(row, await countRuns(database, environment, row.id)))
  },
}

function toWorkflowRun(row: WorkflowRunRow, counts: readonly RunCount[]) {
  return {
    __typename: 'WorkflowRun',
    id: row.id,
    workflow: row.workflow,
    version: row.version_id,
    revision: row.revision,
    trigger_source: row.trigger_source,
    actor: row.actor && toWireReference(row.actor),
    tenant: row.tenant,
    fan_out: row.fan_out,
    runs: {
      total: counts.reduce((sum, { count }) => sum + count, 0),
      by_status: sumBy(counts, ({ status }) => status),
      by_outcome: sumBy(counts, ({ outcome }) => outcome),
    },
    recipients_missing: row.missing.map(toWireReference),
    cancelled_at: row.cancelled_at,
    inserted_at: row.inserted_at,
  }
}

function sumBy(
  counts: readonly RunCount[],
  nameOf: (count: RunCount) => string | null,
): Readonly<Record<string, number>> {
  const sums: Record<string, number> = {}
  for (const one of counts) {
    const name = nameOf(one)
    if (name !== null) sums[name] = (sums[name] ?? 0) + one.count
  }
  return sums
}

export const workflowRuns = [find] as const
