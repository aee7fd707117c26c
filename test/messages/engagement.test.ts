import { describe, expect, test } from 'vitest'
import { applyMark, MARKS, type Mark, type Stamps } from '../../src/messages/engagement.ts'

const now = new Date('2030-01-01T00:00:00Z')
const earlier = new Date('2029-12-31T00:00:00Z')
const none: Stamps = {
  seenAt: null,
  readAt: null,
  interactedAt: null,
  linkClickedAt: null,
  archivedAt: null,
}
const all: Stamps = {
  seenAt: earlier,
  readAt: earlier,
  interactedAt: earlier,
  linkClickedAt: earlier,
  archivedAt: earlier,
}
const options = { now, data: null }

function typesOf(stamps: Stamps, mark: Mark): string[] {
  return applyMark(stamps, mark, options).happenings.map(({ type }) => type)
}

describe('a mark on an untouched message', () => {
  test.each<[Mark, Partial<Stamps>, string[]]>([
    ['seen', { seenAt: now }, ['message.seen']],
    ['read', { seenAt: now, readAt: now }, ['message.seen', 'message.read']],
    ['interacted', { seenAt: now, interactedAt: now }, ['message.seen', 'message.interacted']],
    ['archived', { archivedAt: now }, ['message.archived']],
    ['unseen', {}, []],
    ['unread', {}, []],
    ['unarchived', {}, []],
  ])('%s', (mark, stamps, types) => {
    expect(applyMark(none, mark, options).stamps).toEqual({ ...none, ...stamps })
    expect(typesOf(none, mark)).toEqual(types)
  })
})

describe('a mark on a message that bears all marks', () => {
  test.each<[Mark, Partial<Stamps>, string[]]>([
    ['seen', { seenAt: now }, []],
    ['read', { readAt: now }, []],
    ['interacted', { interactedAt: now }, ['message.interacted']],
    ['archived', { archivedAt: now }, []],
    ['unseen', { seenAt: null }, ['message.unseen']],
    ['unread', { readAt: null }, ['message.unread']],
    ['unarchived', { archivedAt: null }, ['message.unarchived']],
  ])('%s', (mark, stamps, types) => {
    expect(applyMark(all, mark, options).stamps).toEqual({ ...all, ...stamps })
    expect(typesOf(all, mark)).toEqual(types)
  })
})

test('a mark’s own event bears its data, and what follows from it does not', () => {
  const data = { metadata: { button: 'primary' } }
  for (const mark of MARKS) {
    const { happenings } = applyMark(none, mark, { now, data })
    for (const { type, data: said } of happenings)
      expect(said).toEqual(type === `message.${mark}` ? data : null)
  }
})
