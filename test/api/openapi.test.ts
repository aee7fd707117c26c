import { Validator } from '@seriousme/openapi-schema-validator'
import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { describe, expect } from 'vitest'
import { clientAccess } from '../../src/api/client-access.ts'
import { routes } from '../../src/api/index.ts'
import { describeApi, type Operation } from '../../src/api/openapi.ts'
import type { ReadRoute } from '../../src/api/route.ts'
import { bodyCheck, queryCheck } from '../../src/api/schema.ts'
import { component, text, type Schema } from '../../src/api/shapes/shape.ts'
import { RequestError } from '../../src/errors.ts'
import { test } from '../support/database.ts'
import { serve } from './server-support.ts'

const contract = describeApi(routes)
const operations: readonly Operation[] = Object.values(contract.paths).flatMap((path) =>
  Object.values(path),
)

describe('the contract', () => {
  test('is served as it is to who has no key', async ({ database }) => {
    await using api = await serve(database, routes)
    const reply = await api.call('GET', '/openapi.json')
    expect(reply.status).toBe(200)
    expect(reply.body).toEqual(contract)
  })

  test('is a document of OpenAPI 3.1', async () => {
    const validator = new Validator()
    const { valid, errors } = await validator.validate(structuredClone({ ...contract }))
    expect({ valid, errors, version: validator.version }).toEqual({
      valid: true,
      errors: undefined,
      version: '3.1',
    })
  })

  test('has schemas that are schemas, and refers to nothing that is not there', () => {
    const ajv = new Ajv2020({ strict: true, strictTypes: false, allowUnionTypes: true })
    addFormats.default(ajv)
    ajv.addKeyword('components')
    ajv.addSchema({ $id: 'contract', components: contract.components })
    const titles = Object.keys(contract.components.schemas)
    const missing = titles.filter((one) => !ajv.getSchema(`contract#/components/schemas/${one}`))
    expect(missing).toEqual([])
    const dangling = refsIn(contract).filter((ref) => at(ref) === undefined)
    expect(dangling).toEqual([])
  })

  test('has schemas by which bodies and queries can be checked', () => {
    for (const { id, ...route } of routes) {
      const body = 'body' in route && route.body ? [bodyCheck(route.body)] : []
      const query = 'query' in route && route.query ? [queryCheck(route.query)] : []
      const problems = [...body, ...query].flatMap((check) => problemOf(() => check({})))
      expect({ id, problems }).toEqual({ id, problems: [] })
    }
  })

  test('has each route of the router, and no other', () => {
    const described = Object.entries(contract.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map(
        (method) => `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`,
      ),
    )
    expect(described.toSorted()).toEqual(
      routes.map(({ method, path }) => `${method} ${path}`).toSorted(),
    )
  })

  test('calls each of them by a name of its own', () => {
    const ids = operations.map(({ operationId }) => operationId)
    expect(ids.filter((id, index) => ids.indexOf(id) !== index)).toEqual([])
    expect(ids.filter((id) => !/^[a-z][a-zA-Z]*(\.[a-z][a-zA-Z]*)+$/.test(id))).toEqual([])
    const summaries = operations.map(({ summary }) => summary)
    expect(summaries.filter((one) => !/^[A-Z].*[^.]$/.test(one))).toEqual([])
  })

  test('says of each change what it takes, and who may call', () => {
    const bodiless = routes.filter(
      (route) => route.kind === 'mutation' && route.method !== 'DELETE' && !route.body,
    )
    expect(bodiless.map(({ id }) => id).toSorted()).toEqual([
      'sources.replayEvent',
      // Clients name them in the query.
      'tenants.bulk.delete',
      'workflowRecipientRuns.cancel',
      'workflowRecipientRuns.wake',
    ])
    for (const route of routes) {
      const security = operations.find(({ operationId }) => operationId === route.id)?.security
      const isOpen = route.kind === 'open' || route.kind === 'signed'
      const schemes = (security ?? []).flatMap((one) => Object.keys(one))
      expect({ id: route.id, schemes }).toEqual({
        id: route.id,
        schemes: isOpen
          ? []
          : [
              'secretKey',
              'operatorToken',
              ...(clientAccess(route) ? ['publicKey', 'userToken'] : []),
            ],
      })
    }
  })
})

test('two shapes of one name are refused', () => {
  const twice = [thing('a', component('A', { a: text })), thing('b', component('A', {}))]
  expect(() => describeApi(twice)).toThrow('two shapes are called A')
})

function thing(name: string, shape: Schema): ReadRoute {
  return {
    id: `${name}.get`,
    summary: 'Shows a thing',
    replies: { 200: shape },
    kind: 'read',
    method: 'GET',
    path: `/${name}`,
    scope: 'read',
    environment: 'none',
    handle: () => Promise.resolve({ status: 200 }),
  }
}

/** What is thrown beside refusals. */
function problemOf(work: () => void): readonly unknown[] {
  try {
    work()
    return []
  } catch (error) {
    return error instanceof RequestError ? [] : [error]
  }
}

function refsIn(value: unknown): readonly string[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, one]) =>
    key === '$ref' && typeof one === 'string' ? [one] : refsIn(one),
  )
}

function at(ref: string): unknown {
  const steps = ref.replace(/^#\//, '').split('/')
  return steps.reduce<unknown>(
    (value, step) => (value === undefined ? undefined : Reflect.get(value as object, step)),
    contract,
  )
}
