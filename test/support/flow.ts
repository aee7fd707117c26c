import { routes } from '../../src/api/index.ts'
import { expectOwnContract } from './contract.ts'
import type { Files } from './repository.ts'
import { testRepository, type TestRepository } from './repository.ts'
import { KEY, OPERATOR } from './served.ts'

export interface Reply {
  readonly status: number
  readonly body: Readonly<Record<string, unknown>>
}

/** Calls a server; rejects where it cannot be reached. */
export async function call(
  url: string,
  request: {
    readonly method?: 'GET' | 'POST' | 'PUT'
    readonly path: string
    readonly body?: object
    readonly idempotencyKey?: string
    readonly operator?: boolean
  },
): Promise<Reply> {
  const { method = 'GET', path, body, idempotencyKey, operator = false } = request
  const place = new URL(path, url)
  if (operator) place.searchParams.set('environment', 'production')
  const response = await fetch(place, {
    method,
    headers: {
      authorization: `Bearer ${operator ? OPERATOR : KEY}`,
      ...(body && { 'content-type': 'application/json' }),
      ...(idempotencyKey !== undefined && { 'idempotency-key': idempotencyKey }),
    },
    ...(body && { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(10_000),
  })
  const text = await response.text()
  const { status } = response
  const type = response.headers.get('content-type')
  expectOwnContract(routes, { method, path, status, type, text })
  return { status, body: text === '' ? {} : (JSON.parse(text) as Reply['body']) }
}

/** Triggers a workflow for new users, and answers the id of the workflow run. */
export async function trigger(
  url: string,
  workflow: string,
  recipients: readonly string[],
  options: { readonly data?: object; readonly idempotencyKey?: string } = {},
): Promise<string> {
  const { data = {}, idempotencyKey } = options
  const reply = await call(url, {
    method: 'POST',
    path: `/v1/workflows/${workflow}/trigger`,
    body: { recipients: recipients.map((id) => ({ id, name: id })), data },
    ...(idempotencyKey !== undefined && { idempotencyKey }),
  })
  if (reply.status !== 200) throw new Error(`${reply.status} ${JSON.stringify(reply.body)}`)
  return String(reply.body['workflow_run_id'])
}

/** Turns the switch of a workflow. */
export async function activate(url: string, workflow: string, status: boolean): Promise<void> {
  const reply = await call(url, {
    method: 'PUT',
    path: `/v1/workflows/${workflow}/activate`,
    body: { status, reason: status ? null : 'incident' },
    operator: true,
  })
  if (reply.status !== 200) throw new Error(`${reply.status} ${JSON.stringify(reply.body)}`)
}

/** The names `prefix-0`, `prefix-1` and so on. */
export function names(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}-${index}`)
}

const CALL = `
  - ref: call
    type: webhook
    url: "{{vars.hook_url}}/{{recipient.id}}"
    body: { recipient: "{{recipient.id}}", batch: "{{data.batch}}" }
`

/** What `production`, which follows `main`, says; its webhooks go to `hookUrl`. */
export function flowFiles(hookUrl: string, delay = '1s'): Files {
  return {
    'environments/production.yaml': `ref: main
timezone: Europe/Berlin
variables:
  hook_url: { value: ${hookUrl} }
channels:
  feed: { type: in_app, provider: in_app }
  hook: { type: webhook, provider: webhook }
`,
    'workflows/slow/workflow.yaml': `name: Slow
steps:
  - ref: feed
    type: in_app
    body: "Hello {{recipient.name}}"
  - ref: rest
    type: delay
    for: ${delay}
${CALL}`,
    'workflows/direct/workflow.yaml': `name: Direct
steps:${CALL}`,
  }
}

export async function flowRepository(hookUrl: string, delay?: string): Promise<TestRepository> {
  const repository = await testRepository()
  await repository.commit(flowFiles(hookUrl, delay))
  return repository
}
