import { clientAccess } from './client-access.ts'
import {
  ok,
  type MutationRoute,
  type OpenRoute,
  type ReadRoute,
  type ReplyShape,
  type Route,
} from './route.ts'
import { json, Problem, type Schema } from './shapes/shape.ts'

/** What our contract is called, and in which version. */
const INFO = {
  title: 'Belfry',
  version: '1.0.0',
  description: 'Notification workflows that live in Git: trigger them, and what belongs to them.',
}

/** The call that answers our contract, of these routes and of itself. */
export function openApiRoute(others: readonly Route[]): OpenRoute {
  let made: object | undefined
  const route: OpenRoute = {
    id: 'installation.openapi',
    summary: 'Shows this contract',
    replies: { 200: json },
    kind: 'open',
    method: 'GET',
    path: '/openapi.json',
    handle() {
      made ??= describeApi([...others, route])
      return Promise.resolve(ok(made))
    },
  }
  return route
}

/** What routes say of themselves, as a document of OpenAPI 3.1. */
export function describeApi(routes: readonly Route[]): OpenApi {
  const components = new Components()
  const paths: Record<string, Record<string, Operation>> = {}
  for (const route of routes) {
    const path = (paths[route.path.replaceAll(/:(\w+)/g, '{$1}')] ??= {})
    path[route.method.toLowerCase()] = operationOf(route, components)
  }
  const problem = components.write(Problem)
  return {
    openapi: '3.1.0',
    info: INFO,
    tags: [...new Set(routes.map(tagOf))].toSorted().map((name) => ({ name })),
    paths,
    components: {
      schemas: components.schemas(),
      parameters: PARAMETERS,
      headers: HEADERS,
      responses: {
        Problem: {
          description: 'A refusal: what is wrong, where, and what to do.',
          headers: headersNamed([...OF_EACH, ...OF_KEYED, 'Retry-After']),
          content: { 'application/json': { schema: problem } },
        },
      },
      securitySchemes: SECURITY,
    },
  }
}

export interface OpenApi {
  readonly openapi: string
  readonly info: typeof INFO
  readonly tags: readonly { readonly name: string }[]
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: {
    readonly schemas: Readonly<Record<string, Schema>>
    readonly [kind: string]: Readonly<Record<string, object>>
  }
}

export interface Operation {
  readonly operationId: string
  readonly summary: string
  readonly tags: readonly string[]
  readonly security: readonly Readonly<Record<string, readonly string[]>>[]
  readonly parameters: readonly (Parameter | { readonly $ref: string })[]
  readonly requestBody?: { readonly required: boolean; readonly content: Content }
  readonly responses: Readonly<Record<string, object>>
}

type Content = Readonly<Record<string, { readonly schema: Schema }>>

export interface Parameter {
  readonly name: string
  readonly in: 'path' | 'query'
  readonly required: boolean
  readonly schema: Schema
  readonly style?: string
  readonly explode?: boolean
}

const HEADERS = {
  'X-Request-Id': {
    description: 'What the log calls this request.',
    schema: { type: 'string', format: 'uuid' },
  },
  'Idempotent-Replayed': {
    description: 'That this is the reply of an earlier call with the same idempotency key.',
    schema: { const: 'true' },
  },
  'RateLimit-Limit': {
    description: 'How often the key may make this call in a second, where calls are limited.',
    schema: { type: 'integer' },
  },
  'RateLimit-Remaining': {
    description: 'How many of them are left.',
    schema: { type: 'integer' },
  },
  'RateLimit-Reset': {
    description: 'In how many seconds they are counted anew.',
    schema: { type: 'integer' },
  },
  'Retry-After': {
    description: 'In how many seconds another try makes sense, where one does.',
    schema: { type: 'integer' },
  },
} as const

const OF_EACH = ['X-Request-Id']
const OF_KEYED = ['RateLimit-Limit', 'RateLimit-Remaining', 'RateLimit-Reset']

const PARAMETERS = {
  IdempotencyKey: {
    name: 'Idempotency-Key',
    in: 'header',
    required: false,
    description: 'The same call again with the same key is answered again, and does nothing more.',
    schema: { type: 'string', minLength: 1, maxLength: 255 },
  },
  Environment: {
    name: 'environment',
    in: 'query',
    required: false,
    description: 'Which environment the operator means; a key has its own.',
    schema: { type: 'string' },
  },
} as const

const SECURITY = {
  secretKey: {
    type: 'http',
    scheme: 'bearer',
    description: 'A key `sk_…` of one environment, with the scope that a call names.',
  },
  publicKey: {
    type: 'http',
    scheme: 'bearer',
    description: 'A key `pk_…` of one environment, beside the token of a user.',
  },
  userToken: {
    type: 'apiKey',
    in: 'header',
    name: 'X-Knock-User-Token',
    description: 'A token that the application has signed for one user.',
  },
  operatorToken: { type: 'http', scheme: 'bearer', description: 'Opens each environment.' },
} as const

function headersNamed(names: readonly string[]): Readonly<Record<string, object>> {
  return Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]))
}

function tagOf({ id }: Route): string {
  return id.slice(0, id.indexOf('.'))
}

function operationOf(route: Route, components: Components): Operation {
  const body = bodyOf(route, components)
  return {
    operationId: route.id,
    summary: route.summary,
    tags: [tagOf(route)],
    security: securityOf(route),
    parameters: parametersOf(route, components),
    ...(body && { requestBody: body }),
    responses: responsesOf(route, components),
  }
}

function isKeyed(route: Route): route is ReadRoute | MutationRoute {
  return route.kind === 'read' || route.kind === 'mutation'
}

function securityOf(route: Route): Operation['security'] {
  if (!isKeyed(route)) return []
  return [
    { secretKey: [route.scope] },
    { operatorToken: [] },
    ...(clientAccess(route) ? [{ publicKey: [], userToken: [] }] : []),
  ]
}

function parametersOf(route: Route, components: Components): Operation['parameters'] {
  const params = isKeyed(route) ? route.params : undefined
  const inPath = [...route.path.matchAll(/:(\w+)/g)].map(([, name = '']): Parameter => ({
    name,
    in: 'path',
    required: true,
    schema: params?.[name] ?? { type: 'string' },
  }))
  if (!isKeyed(route)) return inPath
  const { properties = {}, required = [] } = (route.query ?? {}) as QuerySchema
  const inQuery = Object.entries(properties).map(([name, schema]): Parameter => ({
    name: isOf(schema, 'array') ? `${name}[]` : name,
    in: 'query',
    required: required.includes(name),
    schema: components.write(schema),
    ...(isOf(schema, 'object') && { style: 'deepObject', explode: true }),
  }))
  return [
    ...inPath,
    ...inQuery,
    ...(route.environment === 'key' ? [{ $ref: '#/components/parameters/Environment' }] : []),
    ...(route.kind === 'mutation' ? [{ $ref: '#/components/parameters/IdempotencyKey' }] : []),
  ]
}

interface QuerySchema {
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
}

function isOf({ type }: Schema, name: string): boolean {
  return Array.isArray(type) ? type.includes(name) : type === name
}

function bodyOf(route: Route, components: Components): Operation['requestBody'] {
  if (route.kind === 'signed') {
    const types = route.reads ?? ['application/json']
    const content = Object.fromEntries(types.map((type) => [type, { schema: {} }]))
    return { required: true, content }
  }
  if (route.kind !== 'mutation' || !route.body) return undefined
  const schema = components.write(route.body as Schema)
  return { required: !route.isBodyOptional, content: { 'application/json': { schema } } }
}

function responsesOf(route: Route, components: Components): Operation['responses'] {
  const headers = headersNamed([
    ...OF_EACH,
    ...(isKeyed(route) ? OF_KEYED : []),
    ...(route.kind === 'mutation' ? ['Idempotent-Replayed'] : []),
  ])
  const replies = Object.entries(route.replies).map(([status, reply]) => {
    const content = contentOf(reply, components)
    const description = DESCRIPTIONS[status] ?? 'Not now, or not there.'
    return [status, { description, headers, ...(content && { content }) }] as const
  })
  const problem = { $ref: '#/components/responses/Problem' }
  return { ...Object.fromEntries(replies), '4XX': problem, '5XX': problem }
}

const DESCRIPTIONS: Readonly<Record<string, string>> = {
  200: 'Done.',
  202: 'Taken, and done later.',
  204: 'Done, and nothing to say.',
  302: 'Found elsewhere.',
}

/** The schemas of a reply, by media type; undefined of one without a body. */
export function contentsOf(reply: ReplyShape): Readonly<Record<string, Schema>> | undefined {
  if (reply === null) return undefined
  return hasContent(reply) ? reply.content : { 'application/json': reply }
}

function hasContent(reply: object): reply is { content: Readonly<Record<string, Schema>> } {
  return 'content' in reply
}

function contentOf(reply: ReplyShape, components: Components): Content | undefined {
  const contents = contentsOf(reply)
  if (!contents) return undefined
  return Object.fromEntries(
    Object.entries(contents).map(([type, schema]) => [type, { schema: components.write(schema) }]),
  )
}

/** Schemas that have a title stand in one place, and are referred to everywhere else. */
class Components {
  readonly #schemas = new Map<string, Schema>()

  schemas(): Readonly<Record<string, Schema>> {
    return Object.fromEntries([...this.#schemas].toSorted(([a], [b]) => (a < b ? -1 : 1)))
  }

  write(schema: Schema): Schema {
    const { title } = schema
    return typeof title === 'string' ? this.#keep(title, schema) : this.#inner(schema)
  }

  #keep(title: string, schema: Schema): Schema {
    const written = this.#inner(schema)
    const known = this.#schemas.get(title)
    if (known && JSON.stringify(known) !== JSON.stringify(written))
      throw new Error(`two shapes are called ${title}`)
    this.#schemas.set(title, written)
    return { $ref: `#/components/schemas/${title}` }
  }

  #inner({ $defs, ...schema }: Schema): Schema {
    for (const [name, definition] of Object.entries($defs ?? {}))
      this.#keep(nameOf(name), definition as Schema)
    return this.#each(schema, (value, key) => this.#value(value, key))
  }

  #value(value: unknown, key: string): unknown {
    if (key === '$ref' && typeof value === 'string')
      return value.replace(
        /^#\/\$defs\/(.*)$/,
        (_, name: string) => `#/components/schemas/${nameOf(name)}`,
      )
    if (typeof value !== 'object' || value === null) return value
    // What stands there is no schema, although it may look like one.
    if (key === 'enum' || key === 'const' || key === 'examples') return value
    if (Array.isArray(value)) return value.map((one: unknown) => this.#value(one, ''))
    if (key === 'properties') return this.#each(value as Schema, (one) => this.write(one as Schema))
    return this.write(value as Schema)
  }

  #each(schema: Schema, write: (value: unknown, key: string) => unknown): Schema {
    return Object.fromEntries(
      Object.entries(schema).map(([key, value]) => [key, write(value, key)]),
    )
  }
}

/** `preference_setting` as a component is called. */
function nameOf(definition: string): string {
  return definition.replaceAll(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase())
}
