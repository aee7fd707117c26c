import { expect, test } from 'vitest'
import { Lanes } from '../../src/messages/lanes.ts'

/** Work that ends when told, and says when it began. */
function aWork(log: string[], name: string) {
  const { promise, resolve } = Promise.withResolvers<void>()
  return {
    end: resolve,
    run: async () => {
      log.push(name)
      await promise
    },
  }
}

test('a full lane holds up its own work and no other', async () => {
  const lanes = new Lanes({ total: 3, perLane: 1 })
  const log: string[] = []
  const works = ['a1', 'a2', 'b1'].map((name) => ({ name, ...aWork(log, name) }))
  const runs = works.map(({ name, run }) => lanes.run(name[0]!, run))
  await Promise.resolve()
  expect(log).toEqual(['a1', 'b1'])
  for (const { end } of works) end()
  await Promise.all(runs)
  expect(log).toEqual(['a1', 'b1', 'a2'])
})

test('the total bounds all that lanes have beyond their first, and the first that waits goes first', async () => {
  const lanes = new Lanes({ total: 2, perLane: 2 })
  const log: string[] = []
  const works = ['a1', 'b1', 'c1', 'b2', 'a2'].map((name) => ({ name, ...aWork(log, name) }))
  const runs = works.map(({ name, run }) => lanes.run(name[0]!, run))
  await Promise.resolve()
  expect(log).toEqual(['a1', 'b1', 'c1'])
  works[2]!.end()
  await runs[2]
  works[0]!.end()
  await runs[0]
  await Promise.resolve()
  expect(log.slice(3)).toHaveLength(1)
  for (const { end } of works) end()
  await Promise.all(runs)
  expect(log.toSorted()).toEqual(['a1', 'a2', 'b1', 'b2', 'c1'])
})

test('work that throws gives its place back', async () => {
  const lanes = new Lanes({ total: 1, perLane: 1 })
  await expect(lanes.run('a', () => Promise.reject(new Error('no')))).rejects.toThrow('no')
  await expect(lanes.run('a', async () => 'done')).resolves.toBe('done')
})
