import { expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { newId, type StepRef, type WorkflowRunId } from '../../src/ids.ts'
import { Batches, type BatchRequest, type JoinRequest } from '../../src/runs/batches.ts'
import type { LoadedVersion } from '../../src/runs/versions.ts'
import { test } from '../support/database.ts'
import { ENVIRONMENT, storedRun } from './simulated-runs.ts'
import { SIMULATED } from './simulated-workflow.ts'

const MINUTE_MS = 60_000
const start = Date.UTC(2027, 2, 1)
const version = {
  id: 'v1',
  key: SIMULATED,
  workflow: {
    name: 'W',
    steps: [{ ref: 'digest', type: 'batch', window: '10m', version: 'pinned' }],
  },
  files: {},
} as unknown as LoadedVersion

/** A run that comes to the batch, so many minutes after the start. */
function comes(minutes: number): JoinRequest {
  const trigger = {
    id: newId<WorkflowRunId>(),
    data: {},
    actor: null,
    tenant: null,
    settings: {},
    cancellationKey: null,
    schedule: null,
    depth: 0,
  }
  const { run } = storedRun(trigger, version, 'ada')
  const key = ''
  return {
    kind: 'join',
    run,
    bucket: {
      workflow: SIMULATED,
      stepRef: 'digest' as StepRef,
      collection: run.collection,
      recipient: run.recipient,
      tenant: null,
      key,
      versionId: version.id,
      sandbox: false,
    },
    outcome: {
      kind: 'batch',
      key,
      until: new Date(start + (minutes + 10) * MINUTE_MS),
      extensionLimit: null,
      timeZone: 'Etc/UTC',
      maxItems: null,
      flushLeading: false,
      pinned: true,
    },
  }
}

test('who comes while the last batch is taken joins the one that is open behind it', async ({
  database,
}) => {
  const work = (minutes: number, requests: readonly BatchRequest[]) =>
    database.transaction(async (tx) => {
      const batches = new Batches(ENVIRONMENT, new Date(start + minutes * MINUTE_MS))
      await batches.load(tx, requests)
      const answers = requests.map((request) => batches.answer(request))
      await batches.save(tx)
      return answers
    })
  const [first, second, third] = [comes(0), comes(11), comes(11)]
  await database.query(sql`
    insert into workflow_runs (environment, id, workflow, version_id, sequence, revision,
      trigger_source, data, settings, recipients, fan_out, inserted_at)
    select ${ENVIRONMENT}, id, ${SIMULATED}, ${version.id}, 1, 'r1', '{}', '{}', '{}', '[]', 'done',
      ${new Date(start)}
    from unnest(${[first, second, third].map(({ run }) => run.workflowRunId)}::uuid[]) as i (id)
  `)
  const [opened] = await work(0, [first])
  const [behind] = await work(11, [second])
  const batchId = opened?.kind === 'opened' ? opened.batchId : null
  // The job of the first comes late, and its chunk holds a run that comes only now.
  const looks = { ...first.run, batchId, waitsFor: 'batch' as const }
  const answers = await work(11, [{ kind: 'look', run: looks, version }, third])
  expect(behind?.kind).toBe('opened')
  expect(answers).toMatchObject([{ kind: 'closed' }, { kind: 'joined', runId: second.run.id }])
})
