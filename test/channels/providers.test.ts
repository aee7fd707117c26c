import Ajv from 'ajv/dist/2020.js'
import { describe, expect, test } from 'vitest'
import { isProviderName, providers } from '../../src/channels/index.ts'

const ajv = new Ajv.Ajv2020({ strictTypes: false })

describe.each(Object.entries(providers))('%s', (name, provider) => {
  const check = ajv.compile({
    type: 'object',
    additionalProperties: false,
    required: provider.schema.required,
    properties: provider.schema.properties,
  })

  test('is registered under its own name', () => {
    expect(provider.name).toBe(name)
    expect(isProviderName(name)).toBe(true)
  })

  test('has an example that shows every setting and fits the schema', () => {
    check(provider.example)
    expect(check.errors ?? []).toEqual([])
    expect(Object.keys(provider.example).toSorted()).toEqual(
      Object.keys(provider.schema.properties).toSorted(),
    )
  })

  test('misses each required setting and refuses an unknown one', () => {
    for (const key of provider.schema.required) {
      expect(check({ ...provider.example, [key]: undefined })).toBe(false)
    }
    expect(check({ ...provider.example, nonsense: 1 })).toBe(false)
  })
})

test('settings that may be secret take a reference', () => {
  const check = ajv.compile({
    type: 'object',
    properties: providers.smtp.schema.properties,
    required: providers.smtp.schema.required,
  })
  const settings = { host: 'smtp.example.com', from: 'Example <hello@example.com>' }
  expect(check({ ...settings, password: { secret: 'SMTP_PASSWORD' } })).toBe(true)
  expect(check({ ...settings, password: { secret: 'lower' } })).toBe(false)
  expect(check({ ...settings, from: 'a@example.com, b@example.com' })).toBe(false)
})
