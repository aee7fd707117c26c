import { randomBytes } from 'node:crypto'
import { describe, expect } from 'vitest'
import { loadLinkKey, openLink, sealLink } from '../../src/messages/links.ts'
import { test } from '../support/database.ts'

const key = randomBytes(32)
const parts = ['production', '$users', 'ann@example.com']

describe('a link', () => {
  test('opens with its key, as often as one likes', () => {
    const token = sealLink(key, 'unsubscribe', parts)
    expect(openLink(key, 'unsubscribe', token)).toEqual(parts)
    expect(openLink(key, 'unsubscribe', token)).toEqual(parts)
  })

  test('tells nobody else whom it is for, nor whether two are for the same', () => {
    const token = sealLink(key, 'unsubscribe', parts)
    const text = Buffer.from(token, 'base64url').toString('latin1')
    expect(text).not.toMatch(/ann|example|users|production/)
    expect(sealLink(key, 'unsubscribe', parts)).not.toBe(token)
  })

  test('opens neither with another key, nor for another purpose, nor when a bit of it is changed', () => {
    const token = sealLink(key, 'unsubscribe', parts)
    expect(openLink(randomBytes(32), 'unsubscribe', token)).toBeUndefined()
    expect(openLink(key, 'click', token)).toBeUndefined()
    const bytes = Buffer.from(token, 'base64url')
    for (const index of bytes.keys()) {
      const changed = Buffer.from(bytes)
      changed[index]! ^= 1
      expect(openLink(key, 'unsubscribe', changed.toString('base64url'))).toBeUndefined()
    }
    for (const other of ['', 'a', token.slice(0, -4), `${token}!`, 'x'.repeat(10_000)]) {
      expect(openLink(key, 'unsubscribe', other)).toBeUndefined()
    }
  })

  test('is sealed by the same key for everybody on this Postgres', async ({ database }) => {
    const made = await loadLinkKey(database)
    expect(made).toHaveLength(32)
    expect(await loadLinkKey(database)).toEqual(made)
  })
})
