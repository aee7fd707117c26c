import { expect, test } from 'vitest'
import type { StepRef } from '../../src/ids.ts'
import { branch, type Branch } from '../../src/steps/branch.ts'
import { withData } from './context.ts'

const ref = 'plan' as StepRef
const is = (plan: string) => ({
  all: [{ variable: 'data.plan', operator: 'equal_to', argument: plan } as const],
})
const step = {
  ref,
  branches: [
    { name: 'Gold', conditions: is('gold'), steps: [], terminates: true },
    { name: 'Silver', conditions: is('silver'), steps: [] },
    { name: 'Others', steps: [] },
  ],
}

test.each([
  ['gold', 0, 1],
  ['silver', 1, 2],
  ['lead', 2, 2],
])('takes the first branch that holds: %s', (plan, child, tried) => {
  const outcome = branch.execute(step, withData({ plan }))
  expect(outcome).toMatchObject({ kind: 'enter', child })
  const { data } = ('events' in outcome ? outcome.events?.[0] : undefined) ?? {}
  expect(data?.['branch']).toBe(step.branches[child]?.name)
  expect(data?.['conditions']).toHaveLength(tried)
})

test('keeps conditions with the steps that they guard', () => {
  expect(branch.children?.(step)).toMatchObject([
    { name: 'Gold', path: ['branches', 0, 'steps'], conditions: is('gold'), terminates: true },
    { name: 'Silver', path: ['branches', 1, 'steps'], conditions: is('silver') },
    { name: 'Others', path: ['branches', 2, 'steps'] },
  ])
})

test.each<[string, Branch['branches'], (string | number)[]]>([
  [
    'a default branch with conditions',
    [{ name: 'A', conditions: is('a'), steps: [] }],
    ['branches', 0, 'conditions'],
  ],
  [
    'a default branch that is not the last',
    [
      { name: 'A', steps: [] },
      { name: 'B', steps: [] },
    ],
    ['branches', 0],
  ],
])('refuses %s', (_, branches, path) => {
  expect(branch.check?.({ ref, branches })).toMatchObject([{ code: 'default_branch', path }])
})
