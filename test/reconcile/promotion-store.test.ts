import { describe, expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import type { EnvironmentName, VersionId, WorkflowKey } from '../../src/ids.ts'
import { refAt } from '../../src/reconcile/promotion-effects.ts'
import { countPausedRuns, listNeverApplied } from '../../src/reconcile/promotion-store.ts'
import type { Workflow } from '../../src/workflow/workflow.ts'
import { anEnvironment } from '../api/server-support.ts'
import { test } from '../support/database.ts'

const places = {
  environment: 'production' as EnvironmentName,
  from: 'staging' as EnvironmentName,
}

describe('content that comes', () => {
  test('was there where it was applied at any time, here or where it comes from', async ({
    database,
  }) => {
    for (const name of ['staging', 'production', 'elsewhere']) await anEnvironment(database, name)
    const applied = [
      ['staging', 'v1', 'tree1', '1'],
      ['staging', 'v2', 'tree2', '2'],
      ['production', 'v3', 'tree3', '1'],
      ['elsewhere', 'v4', 'tree4', '1'],
    ] as const
    for (const [environment, version, tree, sequence] of applied) {
      await database.query(sql`
        insert into versions (id, key, workflow, files, blobs, channel_uses, variable_uses, created_at)
        values (${version}, 'alpha', '{}', '{}', '{}', '[]', '[]', now())`)
      await database.query(sql`
        insert into revision_workflows (environment, key, sequence, version_id, tree)
        values (${environment}, 'alpha', ${sequence}, ${version}, ${tree})`)
    }
    const coming = (versionId: string | null, tree: string) =>
      listNeverApplied(database, places, [
        { key: 'alpha' as WorkflowKey, tree, versionId: versionId as VersionId | null },
      ])
    for (const version of ['v1', 'v2', 'v3']) expect(await coming(version, 'any')).toEqual([])
    expect(await coming('v4', 'tree4')).toEqual(['alpha'])
    // With other shared parts it is other content, although its directory is the same.
    expect(await coming('v5', 'tree1')).toEqual(['alpha'])
    // One that was not parsed is known by its directory alone.
    expect(await coming(null, 'tree1')).toEqual([])
    expect(await coming(null, 'tree9')).toEqual(['alpha'])
    expect(await listNeverApplied(database, places, [])).toEqual([])
  })
})

test('nothing is paused where there are no runs', async ({ database }) => {
  expect(await countPausedRuns(database, places.environment, ['alpha'])).toEqual([])
})

const feed = (ref: string) => ({ ref, type: 'in_app', body: 'x' })

test('a run stands before the step at its position', () => {
  const workflow = {
    name: 'It',
    steps: [
      feed('first'),
      {
        ref: 'fork',
        type: 'branch',
        branches: [
          { name: 'Some', conditions: { all: [] }, steps: [feed('some')] },
          {
            name: 'Rest',
            steps: [
              feed('rest'),
              {
                ref: 'inner',
                type: 'branch',
                branches: [{ name: 'All', steps: [feed('deep'), feed('last')] }],
              },
            ],
          },
        ],
      },
    ],
  } as unknown as Workflow
  expect(refAt(workflow, [0])).toBe('first')
  expect(refAt(workflow, [1, 0, 0])).toBe('some')
  expect(refAt(workflow, [1, 1, 1])).toBe('inner')
  expect(refAt(workflow, [1, 1, 1, 0, 1])).toBe('last')
  expect(refAt(workflow, [1, 2, 0])).toBeNull()
  expect(refAt(workflow, [7])).toBeNull()
  expect(refAt(undefined, [0])).toBeNull()
})
