import type { IncomingHttpHeaders } from 'node:http'
import type { Database, Queryable, Transaction } from '../db/database.ts'
import type { EnvironmentName } from '../ids.ts'
import type { Client } from './client-access.ts'
import type { BodyBounds } from './body.ts'
import type { ApiServices } from './services.ts'
import type { Schema } from './shapes/shape.ts'

/** What a key may do. The operator token may do all of it, in each environment. */
export const SCOPES = ['trigger', 'read', 'write', 'operate'] as const
export type Scope = (typeof SCOPES)[number]

/**
 * Which environment a call is about: the key's own (an operator names it with `?environment=`), the one
 * in the path as `:environment`, or none, where a call is about what the caller may see.
 */
export type EnvironmentFrom = 'key' | 'path' | 'none'

/** What a route says of itself to those who call it. */
interface Described {
  /** Its name in our contract, unique and for good: `<what>.<verb>`, as the SDKs call it where they do. The first part groups. */
  readonly id: string
  /** In a few words, as a sentence without a subject: "Lists users". */
  readonly summary: string
  /** What is answered by each status that it has beside those of errors. */
  readonly replies: Readonly<Record<number, ReplyShape>>
}

/** A JSON Schema; or schemas by media type; null: nothing. */
export type ReplyShape = Schema | { readonly content: Readonly<Record<string, Schema>> } | null

interface RouteBase extends Described {
  readonly path: string
  readonly scope: Scope
  readonly environment: EnvironmentFrom
  /** JSON Schemas of what in the path is not any text. */
  readonly params?: Readonly<Record<string, Schema>>
  /** JSON Schema of the query; values are coerced, lists may be given once without brackets. */
  readonly query?: object
}

/** A call that changes nothing. */
export interface ReadRoute extends RouteBase {
  readonly kind: 'read'
  readonly method: 'GET'
  handle(request: ReadRequest): Promise<Reply>
}

/** A call that changes something, in one transaction with its idempotency key. */
export interface MutationRoute extends RouteBase {
  readonly kind: 'mutation'
  readonly method: 'POST' | 'PUT' | 'DELETE'
  /** JSON Schema of the body, without which the call needs none. */
  readonly body?: object
  /** Whether the body may be left out. */
  readonly isBodyOptional?: true
  /** Whether a call with this query changes nothing: its reply is not kept, and its idempotency key stays free. */
  isIdle?(query: Readonly<Record<string, unknown>>): boolean
  /** Measures how long its answers take. */
  readonly meter?: 'trigger_seconds'
  handle(request: MutationRequest): Promise<Reply>
}

/** A call that needs no key, and says nothing about anybody's data. */
export interface OpenRoute extends Described {
  readonly kind: 'open'
  readonly method: 'GET'
  readonly path: string
  handle(request: OpenRequest): Promise<Reply>
}

/** A call of who has no key of ours, and proves by what it sends that it may be made. */
export interface SignedRoute extends Described {
  readonly kind: 'signed'
  readonly method: 'POST'
  readonly path: string
  /** Of its body. */
  readonly bounds: BodyBounds
  /** The media types of what it reads; JSON where it says nothing. */
  readonly reads?: readonly string[]
  handle(request: SignedRequest): Promise<Reply>
}

export type Route = ReadRoute | MutationRoute | OpenRoute | SignedRoute

export interface OpenRequest {
  /** HEAD is answered as GET, without the body. */
  readonly method: 'GET' | 'HEAD'
  readonly params: Readonly<Record<string, string>>
  readonly headers: IncomingHttpHeaders
  readonly database: Queryable & Pick<Database, 'transaction'>
  readonly now: Date
  readonly services: ApiServices
}

/** What no one has proved yet. The handler reads the body when the rest speaks for it, and Postgres when the body does. */
export interface SignedRequest {
  readonly params: Readonly<Record<string, string>>
  /** Path and query as they were asked for. */
  readonly url: string
  readonly headers: IncomingHttpHeaders
  /** The query, parsed with brackets. Throws a `RequestError` where it cannot be read. */
  readonly readQuery: () => Readonly<Record<string, unknown>>
  /** The bytes as they were sent, inflated where the route says so. Throws a `RequestError` beyond the route's bounds. */
  readonly readBody: () => Promise<Buffer>
  /** The same chunk by chunk, where not all of it is to be kept. */
  readonly takeBody: (take: (chunk: Buffer) => void) => Promise<void>
  readonly database: Queryable & Pick<Database, 'transaction'>
  readonly now: Date
  readonly services: ApiServices
}

interface RequestBase {
  /** Empty for a route of no environment. */
  readonly environment: EnvironmentName
  readonly params: Readonly<Record<string, string>>
  /** Parsed with brackets; checked and coerced where the route has a schema. */
  readonly query: Readonly<Record<string, unknown>>
  readonly now: Date
  readonly caller: Caller
  readonly services: ApiServices
}

export interface ReadRequest extends RequestBase {
  readonly database: Queryable & Pick<Database, 'transaction'>
}

export interface MutationRequest extends RequestBase {
  readonly tx: Transaction
  /** Parsed JSON; undefined where the request had no body. */
  readonly body: unknown
}

/** Who calls, as an audit names them. */
export interface Caller {
  readonly name: string
  /** Null: the operator, who may see each environment. */
  readonly environment: EnvironmentName | null
  readonly scopes: readonly Scope[]
  /** Of a public key, which has no scopes: for whom it calls. */
  readonly client?: Client
}

export interface Reply {
  readonly status: number
  readonly body?: unknown
  /** The media type of a body that is a text; JSON needs none. */
  readonly type?: string
  readonly headers?: Readonly<Record<string, string>>
}

/** 200 with a JSON body. */
export function ok(body: unknown): Reply {
  return { status: 200, body }
}

/** 204: done, and nothing to say. */
export const NO_CONTENT: Reply = { status: 204 }
export const ANSWERS_NOTHING = { 204: null } as const
