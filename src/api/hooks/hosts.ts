import type { IncomingHttpHeaders } from 'node:http'
import { at, listAt, moveOf, moveOfBranch, push, type GitEvent } from './event.ts'
import { headerOf, hmacIn, standardIn, tokenIn, type Proof } from '../../proof.ts'

/** How the webhooks of one kind of Git host are read. Which kind it is says the path, never the delivery. */
export interface GitHost {
  /** What the headers prove the delivery with; undefined where they prove nothing. */
  proof(headers: IncomingHttpHeaders): Proof | undefined
  /** The headers that may hold the id of the delivery; the first one that is there counts. */
  readonly deliveryIds: readonly string[]
  /** What happened. Nothing in `body` has been checked; it is undefined where it was too large to be read. */
  event(headers: IncomingHttpHeaders, body: unknown): GitEvent
  /** Whether a body may come as a form, with the JSON in its field `payload`. */
  readonly form?: true
  /** Whether the host gives a webhook up that was answered 4xx. */
  readonly givesUp?: true
}

const github: GitHost = {
  proof: (headers) => hmacIn(headers, 'x-hub-signature-256', 'sha256='),
  deliveryIds: ['x-github-delivery'],
  form: true,
  event(headers, body) {
    const name = headerOf(headers, 'x-github-event')
    if (name === 'ping') return { kind: 'ping' }
    if (name === 'push') return pushOfRef(body)
    return name === 'pull_request' ? CHANGE : IGNORED
  },
}

const gitlab: GitHost = {
  // A signature that is there is what counts: whoever has the token alone cannot choose the weaker proof for a signed body.
  proof: (headers) => standardIn(headers) ?? tokenIn(headers, 'x-gitlab-token'),
  deliveryIds: ['webhook-id', 'idempotency-key', 'x-gitlab-event-uuid'],
  givesUp: true,
  event(headers, body) {
    const header = headerOf(headers, 'x-gitlab-event')
    // Hooks of a whole instance have one header for all, and say in the body what it is.
    const name = header === 'System Hook' ? systemEvent(body) : header
    if (name === undefined && body === undefined) return CHANGE
    if (name === 'Push Hook' || name === 'push') return pushOfRef(body)
    if (name === 'repository_update') return pushOfChanges(body)
    return name === 'Merge Request Hook' || name === 'merge_request' ? CHANGE : IGNORED
  },
}

const gitea: GitHost = {
  proof: (headers) => hmacIn(headers, 'x-gitea-signature', '') ?? github.proof(headers),
  deliveryIds: ['x-gitea-delivery'],
  event: (headers, body) => giteaEvent(headerOf(headers, 'x-gitea-event'), body),
}

const forgejo: GitHost = {
  proof: (headers) => hmacIn(headers, 'x-forgejo-signature', '') ?? gitea.proof(headers),
  deliveryIds: ['x-forgejo-delivery', 'x-gitea-delivery'],
  event(headers, body) {
    const name = headerOf(headers, 'x-forgejo-event') ?? headerOf(headers, 'x-gitea-event')
    return giteaEvent(name, body)
  },
}

const bitbucket: GitHost = {
  proof: (headers) => hmacIn(headers, 'x-hub-signature', 'sha256='),
  deliveryIds: ['x-request-uuid'],
  event(headers, body) {
    const name = headerOf(headers, 'x-event-key') ?? ''
    if (name.startsWith('pullrequest:')) return CHANGE
    if (name !== 'repo:push') return IGNORED
    const moves = listAt(body, 'push', 'changes').map((change) => {
      const side = at(change, 'new', 'name') === undefined ? 'old' : 'new'
      if (at(change, side, 'type') !== 'branch') return null
      return moveOfBranch(at(change, side, 'name'), at(change, 'new', 'target', 'hash'))
    })
    return push(moves)
  },
}

const bitbucketServer: GitHost = {
  proof: (headers) => bitbucket.proof(headers),
  deliveryIds: ['x-request-id'],
  event(headers, body) {
    const name = headerOf(headers, 'x-event-key') ?? ''
    if (name === 'diagnostics:ping') return { kind: 'ping' }
    if (name.startsWith('pr:')) return CHANGE
    if (name !== 'repo:refs_changed' && name !== 'mirror:repo_synchronized') return IGNORED
    const moves = listAt(body, 'changes').map((change) =>
      moveOf(at(change, 'ref', 'id'), at(change, 'toHash')),
    )
    return push(moves)
  },
}

/** For a `post-receive` hook of a plain server, and for whatever else can sign what it sends. */
const generic: GitHost = {
  proof: (headers) => hmacIn(headers, 'x-signature', 'sha256='),
  deliveryIds: ['x-delivery-id'],
  event: (_, body) => (at(body, 'ref') === undefined ? CHANGE : pushOfRef(body)),
}

/** By the last part of the path. */
export const gitHosts: ReadonlyMap<string, GitHost> = new Map(
  Object.entries({
    github,
    gitlab,
    gitea,
    forgejo,
    bitbucket,
    'bitbucket-server': bitbucketServer,
    generic,
  }),
)

const CHANGE: GitEvent = { kind: 'other_change' }
const IGNORED: GitEvent = { kind: 'ignored' }

function pushOfRef(body: unknown): GitEvent {
  return push([moveOf(at(body, 'ref'), at(body, 'after'))])
}

function pushOfChanges(body: unknown): GitEvent {
  return push(
    listAt(body, 'changes').map((change) => moveOf(at(change, 'ref'), at(change, 'after'))),
  )
}

function systemEvent(body: unknown): unknown {
  return at(body, 'event_name') ?? at(body, 'object_kind')
}

/** Where a branch is made or removed there are events of their own, which name the branch alone. */
function giteaEvent(name: string | undefined, body: unknown): GitEvent {
  if (name === 'push') return pushOfRef(body)
  if (name === 'create' || name === 'delete') {
    if (at(body, 'ref_type') !== 'branch') return push([])
    const ref = at(body, 'ref')
    const after = name === 'create' ? at(body, 'sha') : undefined
    return push([moveOf(ref, after) ?? moveOfBranch(ref, after)])
  }
  return name?.startsWith('pull_request') ? CHANGE : IGNORED
}
