import { expect, test } from 'vitest'
import { checkDataSchema, compileDataSchema } from '../../src/workflow/data-schema.ts'

test.each<[string, object | boolean]>([
  ['an empty schema', {}],
  ['true', true],
  ['keywords that it makes up', { type: 'object', 'x-owner': 'team' }],
  ['its own dialect', { $schema: 'https://json-schema.org/draft/2020-12/schema', type: 'object' }],
  [
    'references into itself',
    { $defs: { id: { type: 'string' } }, properties: { id: { $ref: '#/$defs/id' } } },
  ],
  ['a format', { properties: { id: {}, at: { format: 'date-time' } } }],
])('takes %s', (_, schema) => {
  expect(checkDataSchema(schema)).toBeUndefined()
  expect(checkDataSchema(schema)).toBeUndefined()
})

test.each<[string, object, string]>([
  ['a type that does not exist', { properties: { a: { type: 'strin' } } }, 'properties/a/type'],
  ['another dialect', { $schema: 'http://json-schema.org/draft-07/schema#' }, '$schema'],
  ['a reference to nothing', { $ref: '#/$defs/gone' }, ''],
  ['a reference to elsewhere', { $ref: 'https://example.com/a.json' }, ''],
  ['a pattern that is none', { properties: { a: { pattern: '(' } } }, ''],
  ['required that is no list', { required: 'a' }, 'required'],
  ['one that answers later', { $async: true, required: ['a'] }, ''],
  [
    'a part that answers later',
    { $ref: '#/$defs/a', $defs: { a: { $async: true, type: 'string' } } },
    '',
  ],
  ['a nullable without a type', { nullable: true }, ''],
])('refuses %s', (_, schema, pointer) => {
  expect(checkDataSchema(schema)?.pointer.join('/')).toBe(pointer)
})

test('says each thing that is wrong with data, and where', () => {
  const check = compileDataSchema({
    type: 'object',
    required: ['id'],
    properties: { id: {}, at: { format: 'date-time' }, kind: { enum: ['a', 'b'] } },
    additionalProperties: false,
  })
  expect(check({ id: 1, at: '2026-01-31T09:00:00Z' })).toEqual([])
  expect(check({ at: 'soon', kind: 'c', more: 1 })).toEqual([
    { field: '/id', message: 'is missing' },
    { field: '', message: 'must NOT have additional properties: "more"' },
    { field: '/at', message: 'must match format "date-time"' },
    { field: '/kind', message: 'must be one of a, b' },
  ])
})

test('says of a great many only the first', () => {
  const check = compileDataSchema({ items: { type: 'string' } })
  expect(check(Array.from({ length: 10_000 }, () => 1))).toHaveLength(50)
})

test('two schemas may have the same $id: each belongs to its own workflow', () => {
  const first = compileDataSchema({ $id: 'data', type: 'object' })
  const second = compileDataSchema({ $id: 'data', type: 'array' })
  expect([first({}), second([])]).toEqual([[], []])
})

test('ends a check that a pattern would make last for ever', () => {
  const check = compileDataSchema({ properties: { code: { pattern: '^(a+)+$' } } })
  const startedAt = performance.now()
  expect(check({ code: `${'a'.repeat(32)}!` })).toEqual([
    {
      field: '',
      message: 'could not be checked within 200 ms: a pattern of the schema takes too long on it',
    },
  ])
  expect(performance.now() - startedAt).toBeLessThan(5_000)
  // The check goes on to serve.
  expect(check({ code: 'aaa' })).toEqual([])
  expect(check({ code: 'b' })).toEqual([
    { field: '/code', message: 'must match pattern "^(a+)+$"' },
  ])
})

test('bounds patterns for the names of properties too', () => {
  const check = compileDataSchema({ patternProperties: { '^(a+)+$': true } })
  expect(check({ [`${'a'.repeat(32)}!`]: 1 })).toHaveLength(1)
})
