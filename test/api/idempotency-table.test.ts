import { afterAll, beforeAll, expect, test } from 'vitest'
import { routes } from '../../src/api/index.ts'
import { nameOf, type Scene } from './isolation-support.ts'
import {
  callAsOperator,
  mutationCalls,
  openMutationScene,
  rowsOf,
  type Rows,
} from './mutation-support.ts'
import type { TestReply } from './server-support.ts'

// Each call that changes something, twice at once and once more under one idempotency key: one effect, one answer.

const mutations = routes.filter((route) => route.kind === 'mutation')

let scene: Scene
/** What there was after the last call. */
let last: Rows | undefined
beforeAll(async () => {
  scene = await openMutationScene()
})
afterAll(() => scene[Symbol.asyncDispose]())

test('every call that changes something is in the table, and nothing else', () => {
  expect(Object.keys(mutationCalls()).toSorted()).toEqual(mutations.map(nameOf).toSorted())
})

for (const route of mutations) {
  const name = nameOf(route)
  test(`${name} has one effect and one answer under one key`, async () => {
    const { path, body, before = [] } = mutationCalls()[name]!
    for (const one of before)
      expect(await callAsOperator(scene, one[0], one[1], { body: one[2] })).toMatchObject({
        status: 200,
      })
    const kept = before.length === 0 && last ? last : await rowsOf(scene.database)
    const key = `key of ${route.id}`
    const once = () => callAsOperator(scene, route.method, path, { body, key })
    const both = await Promise.all([once(), once()])
    const after = await rowsOf(scene.database)
    const again = await once()
    expect({ name, ok: again.status < 300, body: again.body }).toMatchObject({ name, ok: true })
    for (const reply of both) {
      expect(reply.status).toBe(again.status)
      expect(JSON.stringify(reply.body)).toBe(JSON.stringify(again.body))
    }
    expect([...both, again].filter(isReplay)).toHaveLength(2)
    expect(isReplay(again)).toBe(true)
    const grown = Object.keys(after).filter(
      (one) => (after[one]?.count ?? 0) - (kept[one]?.count ?? 0) > 1,
    )
    expect(grown).toEqual([])
    last = await rowsOf(scene.database)
    expect(last).toEqual(after)
    expect(scene.server.failures.splice(0)).toEqual([])
  })
}

const isReplay = ({ headers }: TestReply) => headers.get('idempotent-replayed') === 'true'
