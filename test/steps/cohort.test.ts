import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { StepRef } from '../../src/ids.ts'
import { BUCKETS, bucketOf, cohort, type Cohort } from '../../src/steps/cohort.ts'
import { aContext } from './context.ts'

const ref = 'trial' as StepRef
const parts = (...percentages: number[]): Cohort['cohorts'] =>
  percentages.map((percentage, index) => ({ name: `part ${index}`, percentage, steps: [] }))

/** The cohort that a recipient falls into. */
function chosen(step: Cohort, id: unknown, given: { workflow?: string; ref?: string } = {}) {
  const context = aContext()
  const workflow = { key: given.workflow ?? 'welcome' }
  const scope = { ...context.scope, workflow, recipient: { id } }
  const outcome = cohort.execute(
    { ...step, ref: (given.ref ?? ref) as StepRef },
    { ...context, scope },
  )
  if (outcome.kind !== 'enter') throw new Error(outcome.kind)
  return { child: outcome.child, data: outcome.events?.[0]?.data }
}

/** How many of many people fall into each cohort. */
function counts(step: Cohort, people: number, salt: string): number[] {
  const found = step.cohorts.map(() => 0)
  for (let index = 0; index < people; index++) {
    const { child } = chosen(step, `${salt}-${index}`)
    found[child] = (found[child] ?? 0) + 1
  }
  return found
}

describe('a bucket', () => {
  test('stays what the documentation says', () => {
    expect(bucketOf('welcome', 'trial', 'ann')).toBe(290)
    expect(bucketOf('welcome', 'trial', null)).toBe(623)
  })

  test('depends on nothing but workflow, ref and key', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.string(), (workflow, step, key) => {
        const bucket = bucketOf(workflow, step, key)
        expect(bucket).toBe(bucketOf(workflow, step, key))
        expect(bucket).toBeGreaterThanOrEqual(0)
        expect(bucket).toBeLessThan(BUCKETS)
      }),
    )
  })
})

describe('a cohort', () => {
  test('is named in the timeline with its bucket', () => {
    const { data } = chosen({ cohorts: parts(0, 100) }, 'ann')
    expect(data).toEqual({ cohort: 'part 1', index: 1, bucket: 290, key: 'ann' })
  })

  test('has its share of the people, however the shares are cut', () => {
    const cuts = fc.array(fc.integer({ min: 0, max: BUCKETS }), { maxLength: 4 })
    fc.assert(
      fc.property(cuts, fc.string({ maxLength: 8 }), (at, salt) => {
        const ends = [...at.toSorted((left, right) => left - right), BUCKETS]
        const shares = ends.map((end, index) => (end - (ends[index - 1] ?? 0)) / 10)
        const people = 4_000
        for (const [index, count] of counts(
          { cohorts: parts(...shares) },
          people,
          salt,
        ).entries()) {
          const share = shares[index]! / 100
          // Six standard deviations: a fair division leaves them once in a hundred million times.
          const slack = 6 * Math.sqrt(people * share * (1 - share))
          expect(Math.abs(count - people * share)).toBeLessThanOrEqual(slack)
        }
      }),
      { numRuns: 25 },
    )
  })

  test('stays the same for a person, whatever else there is and whenever it is asked', () => {
    const step = { ref, cohorts: parts(12.5, 37.5, 50) }
    const others = fc.record({
      data: fc.dictionary(fc.string(), fc.jsonValue()),
      actor: fc.option(fc.record({ id: fc.string() })),
      total_activities: fc.nat(),
    })
    fc.assert(
      fc.property(fc.string(), others, fc.date({ noInvalidDate: true }), (id, more, now) => {
        const context = aContext()
        const scope = { ...context.scope, ...more, workflow: { key: 'welcome' }, recipient: { id } }
        const outcome = cohort.execute(step, { ...context, scope, now })
        expect(outcome).toMatchObject({ kind: 'enter', child: chosen(step, id).child })
      }),
    )
  })

  test('keeps its people where another cohort is divided further', () => {
    for (let index = 0; index < 500; index++) {
      const { child } = chosen({ cohorts: parts(30, 70) }, index)
      const later = chosen({ cohorts: parts(30, 20, 50) }, index)
      expect(later.child === 0).toBe(child === 0)
    }
  })

  test('is divided anew by another step or workflow', () => {
    const half = { cohorts: parts(50, 50) }
    const people = Array.from({ length: 1_000 }, (_, index) => `person-${index}`)
    const moved = (given: { workflow?: string; ref?: string }) =>
      people.filter((id) => chosen(half, id).child !== chosen(half, id, given).child).length
    for (const count of [moved({ ref: 'other' }), moved({ workflow: 'other' })]) {
      expect(count).toBeGreaterThan(400)
      expect(count).toBeLessThan(600)
    }
  })

  test('goes by another key, of which the text counts', () => {
    const step = { key: 'recipient.plan', cohorts: parts(50, 50) }
    const { data } = chosen(step, 'ann')
    expect(data).toMatchObject({ bucket: 623, key: null })
    expect(chosen({ cohorts: parts(100) }, 42).data).toEqual(
      chosen({ cohorts: parts(100) }, '42').data,
    )
    expect(cohort.paths?.({ ...step, ref })).toEqual([{ path: ['key'], value: 'recipient.plan' }])
  })

  test('holds its steps, and may end the run', () => {
    const cohorts = [{ name: 'All', percentage: 100, steps: [], terminates: true }]
    expect(cohort.children?.({ ref, cohorts })).toEqual([
      { name: 'All', steps: [], path: ['cohorts', 0, 'steps'], terminates: true },
    ])
  })
})

test.each<[string, number[], object[]]>([
  ['that sum to 100 with decimals', [33.3, 33.3, 33.4], []],
  ['of nothing', [0, 100], []],
  ['that sum to less', [50, 49.9], [{ path: ['cohorts'], code: 'percentage_sum' }]],
  ['that sum to more', [50, 50.1], [{ path: ['cohorts'], code: 'percentage_sum' }]],
  [
    'with two decimals',
    [12.25, 87.75],
    [{ path: ['cohorts', 0, 'percentage'] }, { path: ['cohorts', 1, 'percentage'] }],
  ],
])('checks percentages %s', (_, percentages, problems) => {
  const found = cohort.check?.({ ref, cohorts: parts(...percentages) }) ?? []
  expect(found).toMatchObject(problems)
  expect(found).toHaveLength(problems.length)
})
