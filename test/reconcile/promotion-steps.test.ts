import { describe, expect, test } from 'vitest'
import { diffSchemas } from '../../src/reconcile/promotion-schema.ts'
import { describeSteps, diffFields, diffSteps } from '../../src/reconcile/promotion-steps.ts'
import type { Version } from '../../src/workflow/workflow.ts'
import { parseSharedParts } from '../../src/workflow/shared.ts'
import { parseWorkflowDirectory } from '../../src/workflow/snapshot.ts'
import { linkVersion } from '../../src/workflow/link.ts'
import { entriesOf } from '../workflow/files.ts'

function version(yaml: string, files: Readonly<Record<string, string>> = {}): Version {
  const own = entriesOf({ 'workflows/it/workflow.yaml': `name: It\n${yaml}`, ...files })
  const linked = linkVersion(parseWorkflowDirectory('it', own), parseSharedParts(new Map()))
  if (linked.kind !== 'version') throw new Error(JSON.stringify(linked.diagnostics))
  return linked.version
}

const feed = (ref: string, body = ref) => `  - {ref: ${ref}, type: in_app, body: ${body}}\n`
const wait = (time: string) => `  - {ref: wait, type: delay, for: ${time}}\n`

const branches = (inside: string) =>
  `  - ref: fork\n    type: branch\n    branches:\n      - name: Some\n        conditions: {all: [{variable: data.x, operator: equal_to, argument: 1}]}\n        steps:\n${inside.replaceAll(/^/gm, '        ').trimEnd()}\n      - name: Rest\n        steps: []\n`

describe('the steps of two versions', () => {
  test('are added, removed and changed by their refs', () => {
    const before = version(`steps:\n${feed('one')}${wait('15m')}${feed('old')}`)
    const after = version(`steps:\n${feed('one', 'other')}${wait('1h')}${feed('young')}`)
    expect(diffSteps(before, after)).toMatchObject([
      { ref: 'one', change: 'changed', fields: [{ field: 'body', before: 'one', after: 'other' }] },
      { ref: 'wait', change: 'changed', fields: [{ field: 'for', before: '15m', after: '1h' }] },
      { ref: 'young', change: 'added', type: 'in_app' },
      { ref: 'old', change: 'removed' },
    ])
  })

  test('are moved where their order is another one, the fewest of them', () => {
    const before = version(`steps:\n${feed('one')}${feed('two')}${feed('three')}`)
    const after = version(`steps:\n${feed('three')}${feed('one')}${feed('two')}`)
    expect(diffSteps(before, after)).toMatchObject([{ ref: 'three', change: 'moved' }])
  })

  test('are moved into a branch, which is itself not changed by it', () => {
    const before = version(`steps:\n${feed('one')}${branches(feed('two'))}`)
    const after = version(`steps:\n${branches(`${feed('two')}${feed('one')}`)}`)
    expect(diffSteps(before, after)).toEqual([
      { ref: 'one', type: 'in_app', change: 'moved', moved: true, inside: 'fork/Some', fields: [] },
    ])
    expect(describeSteps(before)).toEqual([
      'one (in_app)',
      'fork (branch)',
      'two (in_app, in fork/Some)',
    ])
  })

  test('are changed where only the text of a template file is', () => {
    const yaml = 'steps:\n  - {ref: one, type: in_app, body: {file: feed.md.hbs}}\n'
    const path = 'workflows/it/feed.md.hbs'
    const found = diffSteps(version(yaml, { [path]: 'Old' }), version(yaml, { [path]: 'New' }))
    expect(found).toMatchObject([
      { ref: 'one', change: 'changed', fields: [{ field: 'body', file: 'feed.md.hbs' }] },
    ])
  })

  test('are the same where nothing is different', () => {
    const yaml = `steps:\n${feed('one')}${wait('15m')}`
    expect(diffSteps(version(yaml), version(yaml))).toEqual([])
  })
})

test('what a workflow says beside its steps is compared by field', () => {
  const before = version(`categories: [news]\nsteps:\n${feed('one')}`)
  const after = version(`categories: [news, team]\nsteps:\n${feed('one')}${feed('two')}`)
  expect(diffFields(before, after)).toEqual([
    { field: 'categories', before: '["news"]', after: '["news","team"]', file: null },
  ])
})

const object = (properties: object, rest: object = {}) => ({
  type: 'object',
  properties,
  ...rest,
})

describe('a schema of trigger data', () => {
  const text = { type: 'string' }

  test.each([
    ['a required property', object({}), object({ a: text }, { required: ['a'] }), true],
    ['an optional property', object({}), object({ a: text }), false],
    ['a property that is gone', object({ a: text }), object({}), true],
    ['one that is optional now', object({}, { required: ['a'] }), object({}), false],
    ['a narrower type', object({ a: { type: ['string', 'null'] } }), object({ a: text }), true],
    ['a wider type', object({ a: text }), object({ a: { type: ['string', 'null'] } }), false],
    [
      'numbers for whole ones',
      object({ a: { type: 'integer' } }),
      object({ a: { type: 'number' } }),
      false,
    ],
    ['a closed object', object({}), object({}, { additionalProperties: false }), true],
    ['an opened object', object({}, { additionalProperties: false }), object({}), false],
    ['fewer values', object({ a: { enum: [1, 2] } }), object({ a: { enum: [1] } }), true],
    ['more values', object({ a: { enum: [1] } }), object({ a: { enum: [1, 2] } }), false],
    ['a pattern', object({ a: text }), object({ a: { ...text, pattern: 'x' } }), true],
    [
      'a pattern that is gone',
      object({ a: { ...text, pattern: 'x' } }),
      object({ a: text }),
      false,
    ],
    ['a description', object({ a: text }), object({ a: { ...text, description: 'x' } }), null],
    [
      'items of a list',
      object({ a: { items: text } }),
      object({ a: { items: { type: 'number' } } }),
      true,
    ],
    ['the first schema', undefined, object({}, { required: ['a'] }), true],
    ['a schema that is gone', object({}, { required: ['a'] }), undefined, false],
  ] as const)('with %s', (_, before, after, isBreaking) => {
    const found = diffSchemas(before, after)
    const says = found.length === 0 ? null : found.some(({ breaking }) => breaking)
    expect(says).toBe(isBreaking)
  })

  test('says where it has changed', () => {
    const before = object({ page: object({ id: text }) })
    const after = object({ page: object({ id: { type: 'number' } }) })
    expect(diffSchemas(before, after)).toEqual([
      { path: 'page.id', message: 'the type was string and is number', breaking: true },
    ])
  })
})
