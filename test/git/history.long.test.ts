import { expect, test } from 'vitest'
import { isAncestor, mergeBases } from '../../src/git/history.ts'
import { openRepository } from '../../src/git/repository.ts'
import type { Revision } from '../../src/ids.ts'
import { random } from '../support/random.ts'
import { testRepository } from '../support/repository.ts'
import { writeHistories } from './random-dags.ts'

const HISTORIES = 1_000
const AT_ONCE = 4

test('in 1,000 random histories, ancestors and merge bases are those of git merge-base', async () => {
  await using made = await testRepository()
  const { next } = random(1_000)
  const histories = writeHistories(made.gitDir, { count: HISTORIES, next })
  const repository = await openRepository(made.path)
  const pairs = histories.map((commits) => {
    const any = () => commits[Math.floor(next() * commits.length)] as Revision
    return { one: any(), other: any() }
  })
  const counts = { ancestors: 0, several: 0 }
  const check = async () => {
    for (let pair = pairs.pop(); pair; pair = pairs.pop()) {
      const { one, other } = pair
      const [isExpected, bases] = await Promise.all([
        made.git('merge-base', '--is-ancestor', one, other).then(
          () => true,
          () => false,
        ),
        made.git('merge-base', '--all', one, other).catch(() => ''),
      ])
      expect(await isAncestor(repository, one, other), `${one} ${other}`).toBe(isExpected)
      const found = await mergeBases(repository, one, other)
      expect(found.toSorted(), `${one} ${other}`).toEqual(
        bases.split('\n').filter(Boolean).toSorted(),
      )
      if (isExpected) counts.ancestors += 1
      if (found.length > 1) counts.several += 1
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, check))
  // Each kind is among them.
  expect(counts.ancestors).toBeGreaterThan(100)
  expect(counts.several).toBeGreaterThan(2)
}, 120_000)
