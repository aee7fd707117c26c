import { providerList } from '../../src/channels/index.ts'
import { expect, test } from 'vitest'
import { checkNames } from '../../src/workflow/names.ts'
import { validateFiles } from '../../src/workflow/validate.ts'
import { entriesOf, inApp } from './files.ts'

const place = { path: 'a', line: 1, column: 1 }
const codes = (path: string, schema?: object) =>
  checkNames([{ path, place }], schema).map(({ code, severity }) => `${severity} ${code}`)

test.each([
  'data.a',
  'recipient.name',
  'vars.url',
  'refs.feed.delivery_status',
  'data',
  'data.*.a',
])('knows %s', (path) => {
  expect(codes(path)).toEqual([])
})

test('warns of a name that stands for nothing', () => {
  expect(codes('reciepient.name')).toEqual(['warning unknown_name'])
})

test.each<[string, object, number]>([
  ['data.id', { properties: { id: {} } }, 0],
  ['data.idd', { properties: { id: {} } }, 1],
  ['data.*.x', { properties: { id: {} } }, 0],
  ['data.any', { type: 'object' }, 0],
  ['data.any', { properties: { id: {} }, patternProperties: { '^a': {} } }, 0],
  ['data.any', { properties: { id: {} }, $ref: '#/$defs/more' }, 0],
])('%s with the schema %j gives %i warnings', (path, schema, count) => {
  expect(codes(path, schema)).toHaveLength(count)
})

test('warns where the name stands, in the schema that a file holds', () => {
  const files = {
    'workflows/welcome/workflow.yaml': `trigger: {data_schema: {file: data.json}}\n${inApp('"{{data.nmae}}"')}`,
    'workflows/welcome/data.json': '{ "properties": { "name": {} } }',
  }
  const { diagnostics } = validateFiles(entriesOf(files), { providers: providerList })
  expect(diagnostics).toMatchObject([
    {
      path: 'workflows/welcome/workflow.yaml',
      line: 6,
      column: 14,
      code: 'undeclared_data',
      severity: 'warning',
      hint: expect.stringContaining('"name"'),
    },
  ])
})
