import { describe, expect, test } from 'vitest'
import type { RequestError } from '../../src/errors.ts'
import {
  checkCollection,
  checkRecipientId,
  propertiesOf,
  toScope,
  userToWire,
} from '../../src/recipients/recipient.ts'
import { checkText } from '../../src/recipients/text.ts'

function refusal(check: () => unknown): RequestError | undefined {
  try {
    check()
    return undefined
  } catch (error) {
    return error as RequestError
  }
}

describe('text', () => {
  test.each([
    ['a NUL', { note: 'a\0b' }, '/data/note'],
    ['a lone surrogate', { list: [1, { deep: 'x\ud83d' }] }, '/data/list/1/deep'],
    ['a NUL in a key', { 'a\0': 1 }, '/data/a\uFFFD'],
    ['a key with a slash', { 'a/b~c': '\0' }, '/data/a~1b~0c'],
    ['a bare text', '\0', '/data'],
  ])('with %s is refused, and pointed at', (_case, value, field) => {
    const error = refusal(() => checkText(value, '/data'))
    expect(error).toMatchObject({ status: 422, code: 'invalid_params', errors: [{ field }] })
  })

  test('that is fine passes, whatever it holds', () => {
    expect(() => checkText({ a: 'ü 🔔 \u2028 \u0001', b: [null, 1, true], c: {} })).not.toThrow()
  })

  test('names every place, up to a bound', () => {
    expect(refusal(() => checkText({ a: '\0', b: '\0' }))?.errors).toHaveLength(2)
    expect(
      refusal(() => checkText(Array.from({ length: 1_000 }, () => '\0')))?.errors,
    ).toHaveLength(20)
  })

  test('nested without end is refused before anything overflows', () => {
    const deep: unknown = JSON.parse('['.repeat(50_000) + ']'.repeat(50_000))
    expect(refusal(() => checkText(deep))?.message).toContain('nested deeper than 100')
  })
})

describe('an id', () => {
  test.each(['ann', 'a@b.example', 'ü 🔔', 'x'.repeat(256), '$x'])('%j is one', (id) => {
    expect(checkRecipientId(id, '/id')).toBe(id)
  })

  test.each([['', 'a/b', 'a#b', 'x'.repeat(257), 'a\0', '\ud800', 7, null, undefined]].flat())(
    '%j is none',
    (id) => {
      expect(refusal(() => checkRecipientId(id, '/id'))).toMatchObject({
        status: 422,
        errors: [{ field: '/id' }],
      })
    },
  )

  test('of a collection must not be one of ours', () => {
    expect(checkCollection('teams', '/collection')).toBe('teams')
    expect(refusal(() => checkCollection('$users', '/collection'))?.status).toBe(422)
  })
})

describe('the shape of', () => {
  const at = new Date('2030-01-01T00:00:00Z')
  const properties = { name: 'Ann', plan: 'pro', id: 'forged', __typename: 'Forged' }
  const user = { collection: '$users', id: 'ann', properties, createdAt: at, updatedAt: at }

  test('a user has its properties at the top', () => {
    expect(userToWire(user)).toEqual({
      __typename: 'User',
      id: 'ann',
      name: 'Ann',
      plan: 'pro',
      created_at: null,
      updated_at: at,
    })
  })

  test('a request loses what is no property', () => {
    expect(
      propertiesOf({ id: 'x', name: 'Ann', channel_data: {}, preferences: {}, collection: 'c' }),
    ).toEqual({ name: 'Ann' })
  })

  test('a scope cannot be given another id by a property', () => {
    expect(toScope(user)).toMatchObject({ id: 'ann', name: 'Ann' })
    expect(toScope({ ...user, collection: 'teams' })).toMatchObject({
      id: 'ann',
      collection: 'teams',
    })
  })
})
