import { describe, expect, test } from 'vitest'
import { narrowFeed } from '../../src/api/feed-view.ts'

const item = {
  id: 'm1',
  activities: [{ id: 'a1', data: { page: 7 } }],
  total_activities: 1,
  actors: [{ id: 'ann' }, { id: 'bo' }],
  data: { page: 7, by: { id: 'ann' }, tags: ['a'], none: null },
  seen_at: null,
  inserted_at: new Date(0),
}
const feed = { entries: [item, { ...item, id: 'm2' }], meta: { total_count: 2 }, vars: {} }

test('a feed is whole unless something is said', () => {
  expect(narrowFeed(feed, {})).toEqual(feed)
  expect(narrowFeed(feed, { mode: 'rich', exclude: '' })).toEqual(feed)
})

test('a compact item has no activities, one actor, and data without anything nested', () => {
  const { activities: _, total_activities: __, ...rest } = item
  const plain = { ...rest, actors: [{ id: 'ann' }], data: { page: 7, none: null } }
  expect(narrowFeed(feed, { mode: 'compact' })).toEqual({
    ...feed,
    entries: [plain, { ...plain, id: 'm2' }],
  })
})

describe('what is excluded', () => {
  test('is left out at its path, in each entry of a list', () => {
    const exclude = 'meta, entries.seen_at,entries.data.by,entries.activities.data,nothing.there'
    const { seen_at: _, ...rest } = item
    const kept = {
      ...rest,
      data: { page: 7, tags: ['a'], none: null },
      activities: [{ id: 'a1' }],
    }
    expect(narrowFeed(feed, { exclude })).toEqual({
      entries: [kept, { ...kept, id: 'm2' }],
      vars: {},
    })
  })

  test('lies at most three steps deep', () => {
    expect(() => narrowFeed(feed, { exclude: 'entries.activities.data.page' })).toThrow(/3 steps/)
    expect(() => narrowFeed(feed, { exclude: 'a,'.repeat(101) })).toThrow(/100 paths/)
  })

  test('may be nothing that makes sense', () => {
    for (const exclude of [',', '.', 'entries.', '..', 'entries.id.length', '__proto__'])
      expect(narrowFeed(feed, { exclude })).toEqual(feed)
  })
})
