import { createHmac } from 'node:crypto'
import { routes } from '../../../src/api/index.ts'
import type { Database } from '../../../src/db/database.ts'
import { openEngine, plainEnvironment, type Engine } from '../../support/engine.ts'
import { createKey } from '../../../src/api/keys.ts'
import type { EnvironmentName } from '../../../src/ids.ts'
import { serve, type CallOptions, type TestReply } from '../server-support.ts'

export const WRITE_KEY = 'wk_for_tests'
export const SIGNING = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'

const sources = `
sources:
  segment: { type: segment, secret: { secret: WRITE_KEY }, group_collection: teams }
  standard: { type: standard_webhooks, secret: [{ secret: OLD }, { secret: SIGNING }], user: data.user_id }
  billing: { type: stripe, secret: { secret: SIGNING }, user: data.object.customer }
  cloud: { type: cloudevents, secret: { secret: SIGNING }, user: data.user }
  shop: { type: hmac, secret: { secret: SIGNING }, event: topic, id: delivery.id, signature: { header: X-Shop-Signature, algorithm: sha1, encoding: base64, prefix: "sha1=", timestamp_header: X-Shop-Time } }
`

const onEvent = (source: string, event: string, more = '') => `
name: ${event}
trigger:
  events:
    - { source: ${source}, event: ${event}, recipients: "{{event.recipients}}"${more} }
steps: [{ ref: feed, type: in_app, body: "Page {{data.page}}" }]
`

/** Workflows that events of these sources start. */
export const workflows = {
  'workflows/comment/workflow.yaml': `
name: Comment
trigger:
  data_schema: { properties: { page: { type: string } } }
  events:
    - source: segment
      event: Comment Created
      recipients: "{{event.properties.follower_ids}}"
      actor: "{{event.userId}}"
      tenant: "{{event.properties.team}}"
      data: { page: "{{event.properties.page}}" }
      cancellation_key: "{{event.messageId}}"
steps: [{ ref: feed, type: in_app, body: "Page {{data.page}}" }]
`,
  'workflows/standard/workflow.yaml': onEvent('standard', 'invoice.paid'),
  'workflows/billing/workflow.yaml': onEvent('billing', 'invoice.paid'),
  'workflows/cloud/workflow.yaml': onEvent('cloud', 'com.example.made').replace(
    '{{event.recipients}}',
    '{{event.data.recipients}}',
  ),
  'workflows/shop/workflow.yaml': onEvent('shop', 'orders/create'),
} as const

export interface SourceScene extends AsyncDisposable {
  readonly engine: Engine
  readonly url: string
  /** Forgets what was sent and what came of it. */
  reset(): Promise<void>
  readonly failures: readonly unknown[]
  /** With a secret key of production. */
  call(method: string, path: string, body?: unknown): Promise<TestReply>
  /** As those do who have no such key. */
  send(path: string, options: CallOptions): Promise<TestReply>
  events(source: string, query?: string): Promise<readonly LoggedEvent[]>
}

export interface LoggedEvent {
  readonly id: string
  readonly message_id: string | null
  readonly kind: string
  readonly event: string | null
  readonly user_id: string | null
  readonly status: string
  readonly results: readonly {
    readonly workflow?: string
    readonly workflow_run_id?: string
    readonly error?: { readonly code: string; readonly message: string }
  }[]
  readonly replay_of: string | null
  readonly body: Readonly<Record<string, unknown>> | null
  readonly happened_at: string | null
}

/** A server with all routes over an engine whose environment has a source of each kind. */
export async function openScene(
  database: Database,
  secrets: Readonly<Record<string, string>> = {},
): Promise<SourceScene> {
  await using stack = new AsyncDisposableStack()
  const known: Readonly<Record<string, string>> = {
    'production/WRITE_KEY': WRITE_KEY,
    'production/OLD': 'whsec_b2xkIHNlY3JldCBvZiB0aGUgc291cmNl',
    'production/SIGNING': SIGNING,
    'staging/WRITE_KEY': 'wk_of_staging',
    ...secrets,
  }
  const environments = {
    production: `ref: main\n${plainEnvironment}${sources}`,
    staging: `ref: main\nsources: { segment: { type: rudderstack, secret: { secret: WRITE_KEY } } }`,
  }
  const engine = stack.use(await openEngine(database, { secrets: known, environments }))
  await engine.commit(workflows)
  const { key } = await createKey(database, {
    environment: 'production' as EnvironmentName,
    name: 'test',
    scopes: ['trigger', 'read', 'write', 'operate'],
    source: 'command',
    now: engine.clock.now(),
  })
  const server = stack.use(
    await serve(database, routes, {
      clock: engine.clock,
      services: {
        queue: engine.queue,
        hasLookedAtGit: () => true,
        startedAt: engine.clock.now(),
        findSecret: (environment, name) => known[`${environment}/${name}`],
      },
    }),
  )
  const call = (method: string, path: string, body?: unknown) =>
    server.call(method, path, { key, ...(body !== undefined && { body }) })
  const opened = stack.move()
  return {
    engine,
    url: server.server.url,
    failures: server.failures,
    async reset() {
      await database.execute(`truncate source_events, recipients, subscriptions, workflow_runs, runs,
        run_steps, messages, recipient_events, event_waits cascade`)
    },
    call,
    send: (path, options) => server.call('POST', path, options),
    async events(source, query = '') {
      const reply = await call('GET', `/v1/sources/${source}/events?page_size=50${query}`)
      return (reply.body as { entries: readonly LoggedEvent[] }).entries
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}

/** The header by which a client shows its write key. */
export function basic(writeKey: string): string {
  return `Basic ${Buffer.from(`${writeKey}:`).toString('base64')}`
}

/** An HMAC of parts, as webhooks are signed with. */
export function mac(
  key: string | Buffer,
  text: string,
  {
    algorithm = 'sha256',
    encoding = 'hex',
  }: { readonly algorithm?: string; readonly encoding?: 'hex' | 'base64' } = {},
): string {
  return createHmac(algorithm, key).update(text).digest(encoding)
}
