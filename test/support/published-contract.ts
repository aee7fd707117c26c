import fs from 'node:fs'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import { expect } from 'vitest'
import { parse } from 'yaml'
import type { Answered } from './contract.ts'

type Json = Readonly<Record<string, unknown>>

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: Json
}

interface Operation {
  readonly responses: Readonly<Record<string, { readonly content?: Json }>>
}

/**
 * Holds replies to the contract that the SDKs are made from, where `BELFRY_TEST_CONTRACT` names its file. Without one
 * there is nothing to hold them to.
 */
export function publishedContract(): ((answered: Answered) => void) | undefined {
  const path = process.env['BELFRY_TEST_CONTRACT']
  if (path === undefined) return undefined
  const document = withNulls(parse(fs.readFileSync(path, 'utf8'))) as Document
  // Formats are not checked: ids of versions are not UUIDs here.
  const ajv = new Ajv2020({ allErrors: true, strict: false, validateFormats: false })
  ajv.addSchema({ $id: 'published', ...document })
  const validators = new Map<string, ValidateFunction>()
  return ({ method, path: called, status, text }) => {
    const found = findOperation(document, method, called.split('?', 1)[0] ?? '')
    const name = `${method} ${found?.path ?? called} ${status}`
    const response = found?.operation.responses[status]
    if (!found || !response) return expect.fail(`the contract has no ${name}`)
    if (!response.content) return expect({ name, text }).toEqual({ name, text: '' })
    const steps = ['paths', found.path, found.method, 'responses', String(status)]
    const pointer = [...steps, 'content', 'application/json', 'schema'].map(pointerStep).join('/')
    const validate = validators.get(name) ?? ajv.compile({ $ref: `published#/${pointer}` })
    validators.set(name, validate)
    const body: unknown = JSON.parse(text)
    if (!validate(body)) expect({ name, problems: validate.errors, body }).toEqual({ name })
  }
}

function pointerStep(step: string): string {
  return encodeURIComponent(step.replaceAll('~', '~0').replaceAll('/', '~1'))
}

function findOperation(document: Document, method: string, called: string) {
  const name = method.toLowerCase()
  // Those without parameters first.
  const paths = Object.keys(document.paths).toSorted((a, b) => holes(a) - holes(b))
  for (const path of paths) {
    const operation = document.paths[path]?.[name]
    const matcher = new RegExp(`^${path.replaceAll(/\{\w+\}/g, '[^/]+')}$`)
    if (operation && matcher.test(called)) return { path, method: name, operation }
  }
  return undefined
}

function holes(path: string): number {
  return path.split('{').length
}

/**
 * OpenAPI 3.0 says with a word of its own what JSON Schema says with a type. What is one of several shapes is any of
 * them here, as they are open and an object is a user as well; their type says nothing of the null among them.
 */
function withNulls(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(withNulls)
  const {
    nullable,
    oneOf,
    anyOf = oneOf,
    ...schema
  }: Readonly<Record<string, unknown>> = Object.fromEntries(
    Object.entries(value).map(([key, one]) => [key, withNulls(one)]),
  )
  const { type: _, ...untyped } = schema
  const shape = anyOf === undefined ? schema : { ...untyped, anyOf }
  return nullable === true ? { anyOf: [shape, { type: 'null' }] } : shape
}
