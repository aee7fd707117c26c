import { createHmac } from 'node:crypto'

// What the hosts send, in the shape that they document: more fields than are read, and none of them real.

export const SECRET = 'a-webhook-secret-for-tests'
export const SIGNING_TOKEN = `whsec_${Buffer.alloc(32, 7).toString('base64')}`
export const ZEROS = '0'.repeat(40)
export const BEFORE = 'b'.repeat(40)
export const AFTER = 'a'.repeat(40)

/** What a test sends, ready to be signed. */
export interface Payload {
  readonly headers: Readonly<Record<string, string>>
  readonly body: unknown
}

export interface Delivery {
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** One kind of host: how it signs, and what it sends. */
export interface TestHost {
  /** The name in the path. */
  readonly provider: string
  sign(body: string | Buffer, secret: string): Readonly<Record<string, string>>
  /** The header that holds the delivery's id. */
  readonly idHeader: string
  push(branch: string, after?: string): Payload
  tag(name: string): Payload
  /** The removal of a branch. */
  removal(branch: string): Payload
  /** Something about a merge or pull request. */
  change: Payload
  /** An event that is none of ours. */
  other: Payload
  ping?: Payload
}

export function hmac(body: string | Buffer, secret: string): string {
  return createHmac('sha256', secret).update(body).digest('hex')
}

const person = { name: 'Ada Example', email: 'ada@example.com' }
const commit = {
  id: AFTER,
  message: 'Change files',
  timestamp: '2026-03-01T12:00:00+01:00',
  url: `https://git.example.com/acme/notices/commit/${AFTER}`,
  author: person,
  added: [],
  removed: [],
  modified: ['workflows/welcome/workflow.yaml'],
}
const repository = {
  id: 35_129_377,
  name: 'notices',
  full_name: 'acme/notices',
  clone_url: 'https://git.example.com/acme/notices.git',
  default_branch: 'main',
}

function refPush(ref: string, after: string) {
  return {
    ref,
    before: BEFORE,
    after,
    created: false,
    deleted: after === ZEROS,
    forced: false,
    base_ref: null,
    compare: 'https://git.example.com/acme/notices/compare',
    commits: after === ZEROS ? [] : [commit],
    head_commit: after === ZEROS ? null : commit,
    repository,
    pusher: person,
    sender: { login: 'ada', id: 1 },
  }
}

export const github: TestHost = {
  provider: 'github',
  sign: (body, secret) => ({ 'x-hub-signature-256': `sha256=${hmac(body, secret)}` }),
  idHeader: 'x-github-delivery',
  push: (branch, after = AFTER) => ({
    headers: { 'x-github-event': 'push' },
    body: refPush(`refs/heads/${branch}`, after),
  }),
  tag: (name) => ({
    headers: { 'x-github-event': 'push' },
    body: refPush(`refs/tags/${name}`, AFTER),
  }),
  removal: (branch) => github.push(branch, ZEROS),
  change: {
    headers: { 'x-github-event': 'pull_request' },
    body: { action: 'opened', number: 7, pull_request: { head: { ref: 'topic', sha: AFTER } } },
  },
  other: {
    headers: { 'x-github-event': 'issues' },
    body: { action: 'opened', issue: { number: 8 }, ref: 'refs/heads/production' },
  },
  ping: {
    headers: { 'x-github-event': 'ping' },
    body: { zen: 'Keep it logically awesome.', hook_id: 30, hook: { type: 'Repository' } },
  },
}

function gitlabPush(ref: string, after: string, kind = 'push') {
  return {
    object_kind: kind,
    event_name: kind,
    before: BEFORE,
    after,
    ref,
    ref_protected: true,
    checkout_sha: after === ZEROS ? null : after,
    user_id: 4,
    user_name: person.name,
    project_id: 15,
    project: { id: 15, git_http_url: repository.clone_url, default_branch: 'main' },
    commits: after === ZEROS ? [] : [commit],
    total_commits_count: 1,
  }
}

export const gitlab: TestHost = {
  provider: 'gitlab',
  sign: (_, secret) => ({ 'x-gitlab-token': secret }),
  idHeader: 'idempotency-key',
  push: (branch, after = AFTER) => ({
    headers: { 'x-gitlab-event': 'Push Hook' },
    body: gitlabPush(`refs/heads/${branch}`, after),
  }),
  tag: (name) => ({
    headers: { 'x-gitlab-event': 'Tag Push Hook' },
    body: gitlabPush(`refs/tags/${name}`, AFTER, 'tag_push'),
  }),
  removal: (branch) => gitlab.push(branch, ZEROS),
  change: {
    headers: { 'x-gitlab-event': 'Merge Request Hook' },
    body: { object_kind: 'merge_request', object_attributes: { iid: 1, action: 'open' } },
  },
  other: {
    headers: { 'x-gitlab-event': 'Pipeline Hook' },
    body: { object_kind: 'pipeline', ref: 'refs/heads/production' },
  },
}

/** GitLab's hook of a whole instance, which says in the body what it is. */
export const gitlabSystem: TestHost = {
  ...gitlab,
  push: (branch, after = AFTER) => ({
    headers: { 'x-gitlab-event': 'System Hook' },
    body: {
      event_name: 'repository_update',
      project_id: 15,
      changes: [{ before: BEFORE, after, ref: `refs/heads/${branch}` }],
      refs: [`refs/heads/${branch}`],
    },
  }),
  tag: (name) => ({
    headers: { 'x-gitlab-event': 'System Hook' },
    body: gitlabPush(`refs/tags/${name}`, AFTER, 'tag_push'),
  }),
  removal: (branch) => ({
    headers: { 'x-gitlab-event': 'System Hook' },
    body: gitlabPush(`refs/heads/${branch}`, ZEROS),
  }),
  change: {
    headers: { 'x-gitlab-event': 'System Hook' },
    body: { object_kind: 'merge_request', object_attributes: { iid: 1 } },
  },
  other: {
    headers: { 'x-gitlab-event': 'System Hook' },
    body: { event_name: 'project_create', name: 'notices' },
  },
}

/** GitLab with a signing token, as Standard Webhooks have it. `at` are seconds since 1970. */
export function signStandard(
  body: string,
  { token, id, at }: { readonly token: string; readonly id: string; readonly at: number },
): Readonly<Record<string, string>> {
  const key = Buffer.from(token.replace('whsec_', ''), 'base64')
  const digest = createHmac('sha256', key).update(`${id}.${at}.${body}`).digest('base64')
  return {
    'webhook-id': id,
    'webhook-timestamp': String(at),
    'webhook-signature': `v1,${digest}`,
  }
}

function gitea(name: 'gitea' | 'forgejo'): TestHost {
  const event = (kind: string) => ({
    [`x-${name}-event`]: kind,
    'x-gitea-event': kind,
    'x-gogs-event': kind,
    'x-github-event': kind,
  })
  const refs = { before: BEFORE, compare_url: '', commits: [commit], repository, pusher: person }
  return {
    provider: name,
    sign: (body, secret) => ({ [`x-${name}-signature`]: hmac(body, secret) }),
    idHeader: `x-${name}-delivery`,
    // Old versions repeat the secret in the body.
    push: (branch, after = AFTER) => ({
      headers: event('push'),
      body: { secret: SECRET, ref: `refs/heads/${branch}`, after, ...refs },
    }),
    tag: (tag) => ({
      headers: event('create'),
      body: { sha: AFTER, ref: tag, ref_type: 'tag', repository },
    }),
    removal: (branch) => ({
      headers: event('delete'),
      body: { ref: branch, ref_type: 'branch', pusher_type: 'user', repository },
    }),
    change: { headers: event('pull_request_sync'), body: { action: 'synchronized', number: 2 } },
    other: {
      headers: event('issues'),
      body: { action: 'opened', number: 3, ref: 'refs/heads/production' },
    },
  }
}

const bitbucketRef = (name: string, type: string, hash: string) => ({
  type,
  name,
  target: { type: 'commit', hash, message: 'Change files' },
})

const bitbucket: TestHost = {
  provider: 'bitbucket',
  sign: (body, secret) => ({ 'x-hub-signature': `sha256=${hmac(body, secret)}` }),
  idHeader: 'x-request-uuid',
  push: (branch, after = AFTER) => ({
    headers: { 'x-event-key': 'repo:push', 'x-hook-uuid': '{2f}' },
    body: {
      actor: person,
      repository,
      push: {
        changes: [
          {
            created: false,
            closed: false,
            forced: false,
            old: bitbucketRef(branch, 'branch', BEFORE),
            new: bitbucketRef(branch, 'branch', after),
            truncated: true,
          },
        ],
      },
    },
  }),
  tag: (name) => ({
    headers: { 'x-event-key': 'repo:push' },
    body: { push: { changes: [{ old: null, new: bitbucketRef(name, 'tag', AFTER) }] } },
  }),
  removal: (branch) => ({
    headers: { 'x-event-key': 'repo:push' },
    body: {
      push: {
        changes: [{ closed: true, old: bitbucketRef(branch, 'branch', BEFORE), new: null }],
      },
    },
  }),
  change: { headers: { 'x-event-key': 'pullrequest:fulfilled' }, body: { pullrequest: { id: 1 } } },
  other: { headers: { 'x-event-key': 'issue:created' }, body: { issue: { id: 1 } } },
}

function serverPush(ref: string, type: string, toHash: string): Payload {
  return {
    headers: { 'x-event-key': 'repo:refs_changed' },
    body: {
      eventKey: 'repo:refs_changed',
      date: '2026-03-01T12:00:00+0100',
      actor: person,
      changes: [
        {
          ref: { id: ref, displayId: ref.split('/').at(-1), type },
          refId: ref,
          fromHash: BEFORE,
          toHash,
          type: toHash === ZEROS ? 'DELETE' : 'UPDATE',
        },
      ],
    },
  }
}

const bitbucketServer: TestHost = {
  provider: 'bitbucket-server',
  sign: (body, secret) => bitbucket.sign(body, secret),
  idHeader: 'x-request-id',
  push: (branch, after = AFTER) => serverPush(`refs/heads/${branch}`, 'BRANCH', after),
  tag: (name) => serverPush(`refs/tags/${name}`, 'TAG', AFTER),
  removal: (branch) => serverPush(`refs/heads/${branch}`, 'BRANCH', ZEROS),
  change: { headers: { 'x-event-key': 'pr:merged' }, body: { pullRequest: { id: 1 } } },
  other: { headers: { 'x-event-key': 'repo:forked' }, body: {} },
  ping: { headers: { 'x-event-key': 'diagnostics:ping' }, body: { test: true } },
}

const generic: TestHost = {
  provider: 'generic',
  sign: (body, secret) => ({ 'x-signature': `sha256=${hmac(body, secret)}` }),
  idHeader: 'x-delivery-id',
  push: (branch, after = AFTER) => ({
    headers: {},
    body: { ref: `refs/heads/${branch}`, after },
  }),
  tag: (name) => ({ headers: {}, body: { ref: `refs/tags/${name}`, after: AFTER } }),
  removal: (branch) => generic.push(branch, ZEROS),
  change: { headers: {}, body: {} },
  other: { headers: {}, body: { ref: 'refs/notes/commits', after: AFTER } },
}

export const hosts: readonly TestHost[] = [
  github,
  gitlab,
  gitlabSystem,
  gitea('gitea'),
  gitea('forgejo'),
  bitbucket,
  bitbucketServer,
  generic,
]

let deliveries = 0

/** A delivery as the host would make it: with an id of its own, and signed over its bytes. */
export function deliver(
  host: TestHost,
  payload: Payload,
  { secret = SECRET, id = `delivery-${(deliveries += 1)}` } = {},
): Delivery {
  const body = JSON.stringify(payload.body)
  return { headers: { ...payload.headers, [host.idHeader]: id, ...host.sign(body, secret) }, body }
}
