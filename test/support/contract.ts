import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { expect } from 'vitest'
import { contentsOf } from '../../src/api/openapi.ts'
import type { Route } from '../../src/api/route.ts'
import { Problem, type Schema } from '../../src/api/shapes/shape.ts'

/** What a server has answered to a call. */
export interface Answered {
  readonly method: string
  /** With or without a query. */
  readonly path: string
  readonly status: number
  readonly type: string | null
  /** As it came. */
  readonly text: string
}

/**
 * Holds a reply to what its route says of it: the status, the media type, and each field, none of them missing
 * and none beside them. What no route serves, and what is refused, is held to the shape of errors.
 */
export function expectOwnContract(routes: readonly Route[], answered: Answered): void {
  const { method, status } = answered
  const [path = '', query = ''] = answered.path.split('?', 2)
  const route = findRoute(routes, answered)
  // Neither a path without a route nor what browsers ask before their calls is in the contract.
  if (!route && (status === 404 || method === 'OPTIONS')) return
  const name = `${route?.id ?? path} ${status}`
  // Parts of a feed may be asked to be left out.
  if (!query.includes('exclude=')) expectContent(name, contentsAt(route, status), answered)
}

/** A reply as it came; it can still be read. */
export async function answeredBy(reply: Response, method = 'GET'): Promise<Answered> {
  const { pathname, search } = new URL(reply.url)
  return {
    method: method.toUpperCase(),
    path: pathname + search,
    status: reply.status,
    type: reply.headers.get('content-type'),
    text: await reply.clone().text(),
  }
}

/** The route that has served a call. */
export function findRoute(
  routes: readonly Route[],
  { method, path }: Pick<Answered, 'method' | 'path'>,
): Route | undefined {
  const [place = ''] = path.split('?', 1)
  return routes.find((one) => one.method === method && matcherOf(one).test(place))
}

function expectContent(
  name: string,
  contents: ReturnType<typeof contentsOf>,
  { type, text }: Answered,
): void {
  if (contents === undefined) return expect({ name, text }).toEqual({ name, text: '' })
  const media = type?.split(';', 1)[0] ?? ''
  const schema = contents[media]
  const known = Object.keys(contents).join(' or ')
  if (!schema) return expect.fail(`${name}: ${media} is answered, which is not ${known}`)
  if (media === 'application/json') expectShape(name, schema, text)
}

function expectShape(name: string, schema: Schema, text: string): void {
  const body: unknown = JSON.parse(text)
  const validate = validatorOf(schema)
  if (!validate(body)) expect({ name, problems: validate.errors, body }).toEqual({ name })
}

/** What may be answered with this status, by media type; undefined: no body. */
function contentsAt(route: Route | undefined, status: number): ReturnType<typeof contentsOf> {
  const reply = route?.replies[status]
  if (reply !== undefined) return contentsOf(reply)
  return status < 400 ? {} : { 'application/json': Problem }
}

const matchers = new WeakMap<Route, RegExp>()

function matcherOf(route: Route): RegExp {
  const known = matchers.get(route)
  if (known) return known
  const made = new RegExp(`^${route.path.replaceAll('.', '\\.').replaceAll(/:\w+/g, '[^/]+')}$`)
  matchers.set(route, made)
  return made
}

// That the schemas are schemas is tested elsewhere, once.
const ajv = new Ajv2020({ allErrors: true, strict: false, validateSchema: false })
addFormats.default(ajv)

const validators = new WeakMap<Schema, ValidateFunction>()

function validatorOf(schema: Schema): ValidateFunction {
  const known = validators.get(schema)
  if (known) return known
  const made = ajv.compile(closed(schema) as object)
  validators.set(schema, made)
  return made
}

/** A schema that takes no other fields than those that it names, unless it says that there are some. */
function closed(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(closed)
  const inner = Object.fromEntries(Object.entries(value).map(([key, one]) => [key, closed(one)]))
  const isShape = 'properties' in inner && 'required' in inner
  return isShape && !('additionalProperties' in inner)
    ? { ...inner, additionalProperties: false }
    : inner
}
