import { assert, constantFrom, dictionary, property, stringMatching } from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { VersionId, WorkflowKey } from '../../src/ids.ts'
import { planChanges, planParts } from '../../src/reconcile/plan.ts'
import type { KnownWorkflow } from '../../src/reconcile/plan.ts'

const row = (key: string, tree: string, archived = false): KnownWorkflow => ({
  key: key as WorkflowKey,
  versionId: `version of ${tree}` as VersionId,
  tree,
  archived,
})

const directories = dictionary(
  stringMatching(/^[a-z][a-z0-9]{1,3}$/),
  constantFrom('t1', 't2', 't3'),
)

describe('plan', () => {
  test('puts each workflow in one list, by tree id alone', () => {
    const known = [
      row('same', 't1'),
      row('changed', 't1'),
      row('gone', 't1'),
      row('back', 't1', true),
      row('old', 't1', true),
    ]
    const next = new Map([
      ['same', 't1'],
      ['changed', 't2'],
      ['back', 't1'],
      ['new', 't9'],
      ['_partials', 't5'],
    ])
    expect(planChanges(known, next)).toEqual({
      added: ['new'],
      changed: ['changed'],
      archived: ['gone'],
      restored: ['back'],
      same: ['same'],
    })
  })

  test('reaches what the revision says, and has nothing left to do after it', () => {
    assert(
      property(directories, directories, (before, after) => {
        const known = Object.entries(before).map(([key, tree], index) =>
          row(key, tree, index % 3 === 0),
        )
        const next = new Map(Object.entries(after))
        const { added, changed, archived, restored, same } = planChanges(known, next)
        const live = [...added, ...changed, ...restored, ...same]
        expect(live.toSorted()).toEqual(Object.keys(after).toSorted())
        const all = new Set([...live, ...archived])
        expect(all.size).toBe(live.length + archived.length)
        const reached = live.map((key) => row(key, next.get(key) ?? ''))
        const again = planChanges([...reached, ...archived.map((key) => row(key, 'x', true))], next)
        expect(again).toEqual({
          added: [],
          changed: [],
          archived: [],
          restored: [],
          same: live.toSorted(),
        })
      }),
    )
  })

  test('knows which shared parts moved, and when a new one may concern anybody', () => {
    const known = { 'workflows/_layouts/default.html.hbs': '1', 'workflows/_partials/a.hbs': '2' }
    expect(planParts(known, known)).toEqual({ moved: [], concernsAll: false })
    expect(planParts(known, { ...known, 'workflows/_partials/b.hbs': '3' })).toEqual({
      moved: [],
      concernsAll: false,
    })
    expect(planParts({}, known).concernsAll).toBe(true)
    expect(planParts(known, { 'workflows/_partials/a.hbs': '9' })).toEqual({
      moved: Object.keys(known),
      concernsAll: false,
    })
  })
})
