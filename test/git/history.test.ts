import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { commitsBetween, isAncestor, mergeBases } from '../../src/git/history.ts'
import { openRepository } from '../../src/git/repository.ts'
import type { Repository } from '../../src/git/repository.ts'
import type { Revision } from '../../src/ids.ts'
import { random } from '../support/random.ts'
import { testRepository } from '../support/repository.ts'
import type { TestRepository } from '../support/repository.ts'
import { writeHistories } from './random-dags.ts'

const HISTORIES = 100
const PAIRS = 3

let made: TestRepository
let repository: Repository
/** The commits of each history, oldest first. */
let histories: readonly (readonly Revision[])[]

beforeAll(async () => {
  made = await testRepository()
  histories = writeHistories(made.gitDir, { count: HISTORIES, next: random(7).next })
  repository = await openRepository(made.path)
})
afterAll(() => made[Symbol.asyncDispose]())

function pairs(): { one: Revision; other: Revision }[] {
  const next = random(11).next
  return histories.flatMap((commits) =>
    Array.from({ length: PAIRS }, () => ({
      one: commits[Math.floor(next() * commits.length)] as Revision,
      other: commits[Math.floor(next() * commits.length)] as Revision,
    })),
  )
}

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '')
}

describe('in 100 random histories, clocks that go back included', () => {
  test('the best common ancestors are those that git finds', async () => {
    const counts = new Set<number>()
    for (const { one, other } of pairs()) {
      const found = await mergeBases(repository, one, other)
      const expected = await made.git('merge-base', '--all', one, other).catch(() => '')
      expect(found.toSorted(), `${one} ${other}`).toEqual(lines(expected).toSorted())
      counts.add(Math.min(found.length, 2))
    }
    expect(counts).toEqual(new Set([0, 1, 2]))
  })

  test('a commit is an ancestor where git says so, and of itself', async () => {
    for (const { one, other } of pairs()) {
      const expected = await made.git('merge-base', '--is-ancestor', one, other).then(
        () => true,
        () => false,
      )
      expect(await isAncestor(repository, one, other), `${one} ${other}`).toBe(expected)
      expect(await isAncestor(repository, one, one)).toBe(true)
    }
  })

  test('the commits of one side alone are those that git lists', async () => {
    for (const { one, other } of pairs()) {
      const found = await commitsBetween(repository, [one], other)
      const expected = lines(await made.git('rev-list', other, '--not', one))
      expect(found.map(({ id }) => id as string).toSorted()).toEqual(expected.toSorted())
    }
  })
})

test('without a beginning, every commit of a history is listed', async () => {
  const [commits = []] = histories
  const tip = commits.at(-1) as Revision
  const found = await commitsBetween(repository, [], tip)
  const expected = lines(await made.git('rev-list', tip))
  expect(found.map(({ id }) => id as string).toSorted()).toEqual(expected.toSorted())
})

test('a commit says its tree, parents, time and message', async () => {
  const [commits = []] = histories
  const merge = await Promise.all(commits.map((id) => repository.commit(id)))
  for (const { id, tree, parents, committedAt, message } of merge) {
    const shown = await made.git('show', '-s', '--format=%T%n%P%n%ct%n%B', id)
    const [shownTree, shownParents, shownTime, ...body] = shown.split('\n')
    expect({ tree, parents: parents.join(' '), committedAt, message: message.trim() }).toEqual({
      tree: shownTree,
      parents: shownParents,
      committedAt: Number(shownTime),
      message: body.join('\n').trim(),
    })
  }
})
