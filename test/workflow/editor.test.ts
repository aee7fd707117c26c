import { providerList } from '../../src/channels/index.ts'
import { readFile } from 'node:fs/promises'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { expect, test } from 'vitest'
import { editorSchemas } from '../../src/workflow/editor.ts'

const schemas = Object.entries(editorSchemas(providerList))

test.each(schemas)(
  '%s in the repository is what the code says (npm run docs)',
  async (path, text) => {
    expect(await readFile(path, 'utf8')).toBe(text)
  },
)

test.each(schemas)('%s is a schema for any validator, not only for ours', (_, text) => {
  const schema = JSON.parse(text) as object
  const ajv = new Ajv2020({ strict: true, strictRequired: false, allowUnionTypes: true })
  expect(() => ajv.compile(schema)).not.toThrow()
})
