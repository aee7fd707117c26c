import { expect, test } from 'vitest'
import { bodyCheck } from '../../src/api/schema.ts'
import { RequestError, type Violation } from '../../src/errors.ts'

const check = bodyCheck({
  type: 'object',
  required: ['id'],
  properties: {
    id: { type: ['string', 'object'], minLength: 1, maxLength: 3 },
    'a/b': { enum: ['x', null] },
    list: { type: 'array', minItems: 1, maxItems: 2 },
    at: { type: 'string', format: 'date-time' },
    since: { type: 'string', format: 'timestamp' },
  },
  additionalProperties: false,
})

function violationsOf(body: unknown): readonly Violation[] {
  try {
    check(body)
    return []
  } catch (error) {
    return error instanceof RequestError ? (error.errors ?? []) : []
  }
}

test.each([
  [{}, '/id', 'is missing'],
  [{ id: 'a', no: 1 }, '/no', 'is not known here'],
  [{ id: 7 }, '/id', 'is not a text or an object'],
  [{ id: '' }, '/id', 'is empty'],
  [{ id: 'abcd' }, '/id', 'is longer than 3 characters'],
  [{ id: 'a', 'a/b': 'y' }, '/a~1b', 'is none of x, null'],
  [{ id: 'a', list: [] }, '/list', 'is empty'],
  [{ id: 'a', list: [1, 2, 3] }, '/list', 'has more than 2 entries'],
  [{ id: 'a', at: '2026-01-01' }, '/at', 'is not a time of ISO 8601 with its zone'],
  [{ id: 'a', since: 'soon' }, '/since', 'is not a time of ISO 8601'],
  [[], '', 'is not an object'],
])('%j is refused at "%s": %s', (body, field, message) => {
  expect(violationsOf(body)).toEqual([{ field, message }])
})

test('a date alone is a time where its zone does not matter', () => {
  expect(violationsOf({ id: 'a', since: '2026-01-01' })).toEqual([])
})
