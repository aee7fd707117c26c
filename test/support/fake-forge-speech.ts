import type { ForgeName } from '../../src/forge-settings.ts'

export const FORGE_REPOSITORY = 'example/notifications'

export interface FakeStatus {
  readonly id: number
  readonly sha: string
  readonly context: string
  /** In the forge's own words. */
  readonly state: string
  readonly description: string
  readonly ref: string
  readonly targetUrl: string | undefined
}

export interface FakeComment {
  readonly id: number
  readonly pull: number
  body: string
}

export interface FakePull {
  readonly number: number
  base: string
  head: string
  headSha: string
  open: boolean
  /** The repository that it comes from. */
  from: string
  title: string
  body: string
}

export interface World {
  readonly statuses: FakeStatus[]
  readonly comments: FakeComment[]
  readonly pulls: FakePull[]
  readonly ids: { last: number }
}

export interface Asked {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly body: Record<string, string>
}

export interface Said {
  readonly status: number
  readonly body: unknown
}

type Speak = (world: World, asked: Asked) => Said

/** How many statuses GitHub takes for one context of one commit. */
export const STATUSES_MAX = 1000

/** Opens a pull request, with what is not said made up. */
export function addPull(world: World, pull: Partial<FakePull>): FakePull {
  const made: FakePull = {
    number: world.pulls.length + 1,
    base: 'main',
    head: 'change',
    headSha: '0'.repeat(40),
    open: true,
    from: FORGE_REPOSITORY,
    title: '',
    body: '',
    ...pull,
  }
  world.pulls.push(made)
  return made
}

const NOT_FOUND: Said = { status: 404, body: { message: 'Not Found' } }

/** GitHub and Gitea differ in words only. */
function speakLikeGithub(word: 'state' | 'status', statusesMax: number): Speak {
  return (world, asked) =>
    githubStatuses(world, asked, { word, statusesMax }) ??
    githubComments(world, asked) ??
    githubPulls(world, asked) ??
    NOT_FOUND
}

function githubStatuses(
  world: World,
  { method, path, body }: Asked,
  { word, statusesMax }: { readonly word: string; readonly statusesMax: number },
): Said | undefined {
  const [, posted] = /^\/statuses\/([0-9a-f]{40})$/.exec(path) ?? []
  const [, shown] = /^\/commits\/([0-9a-f]{40})\/status$/.exec(path) ?? []
  if (method === 'POST' && posted !== undefined) {
    const { context = '' } = body
    const known = world.statuses.filter((one) => one.sha === posted && one.context === context)
    if (known.length >= statusesMax) {
      const message = 'This SHA and context has reached the maximum number of statuses.'
      return { status: 422, body: { message: 'Validation Failed', errors: [{ message }] } }
    }
    return { status: 201, body: { id: addStatus(world, posted, { ...body, context }).id } }
  }
  if (method !== 'GET' || shown === undefined) return undefined
  const statuses = newest(world, shown).map((one) => ({
    id: one.id,
    context: one.context,
    [word]: one.state,
    description: one.description,
  }))
  return { status: 200, body: { state: 'pending', statuses } }
}

function addStatus(world: World, sha: string, body: Record<string, string>): FakeStatus {
  world.ids.last += 1
  const made = {
    id: world.ids.last,
    sha,
    context: body['context'] ?? '',
    state: body['state'] ?? '',
    description: body['description'] ?? '',
    ref: body['ref'] ?? '',
    targetUrl: body['target_url'],
  }
  world.statuses.push(made)
  return made
}

function newest(world: World, sha: string): readonly FakeStatus[] {
  const of = world.statuses.filter((one) => one.sha === sha)
  return [...new Map(of.map((one) => [one.context, one])).values()]
}

function githubComments(world: World, { method, path, body }: Asked): Said | undefined {
  const [, pull] = /^\/issues\/(\d+)\/comments$/.exec(path) ?? []
  const [, id] = /^\/issues\/comments\/(\d+)$/.exec(path) ?? []
  return speakComments(world, { method, pull, id: method === 'PATCH' ? id : undefined, body })
}

function speakComments(
  world: World,
  {
    method,
    pull,
    id,
    body,
  }: Pick<Asked, 'method' | 'body'> & {
    readonly pull: string | undefined
    readonly id: string | undefined
  },
): Said | undefined {
  if (id !== undefined) {
    const comment = world.comments.find((one) => one.id === Number(id))
    if (!comment) return NOT_FOUND
    comment.body = body['body'] ?? ''
    return { status: 200, body: comment }
  }
  if (pull === undefined || !world.pulls.some((one) => one.number === Number(pull)))
    return undefined
  if (method === 'GET') {
    return { status: 200, body: world.comments.filter((one) => one.pull === Number(pull)) }
  }
  world.ids.last += 1
  const made = { id: world.ids.last, pull: Number(pull), body: body['body'] ?? '' }
  world.comments.push(made)
  return { status: 201, body: made }
}

function githubPulls(world: World, { method, path, query, body }: Asked): Said | undefined {
  const [, number] = /^\/pulls(?:\/(\d+))?$/.exec(path) ?? []
  if (path !== '/pulls' && number === undefined) return undefined
  if (method === 'GET') {
    const head = query.get('head')
    const open = world.pulls.filter((one) => one.open && (head === null || isFrom(one, head)))
    return { status: 200, body: open.map(githubPull) }
  }
  if (method === 'PATCH') {
    const pull = world.pulls.find((one) => one.number === Number(number))
    if (!pull) return NOT_FOUND
    Object.assign(pull, body)
    return { status: 200, body: githubPull(pull) }
  }
  const { base = '', head = '', title = '', body: text = '' } = body
  const isThere = world.pulls.some((one) => one.open && one.base === base && one.head === head)
  if (isThere) return { status: 422, body: { message: 'A pull request already exists' } }
  return { status: 201, body: githubPull(addPull(world, { base, head, title, body: text })) }
}

function isFrom(pull: FakePull, head: string): boolean {
  return `${pull.from.split('/')[0]}:${pull.head}` === head
}

function githubPull({ number, base, head, headSha, from, title, body }: FakePull): object {
  return {
    number,
    title,
    body,
    html_url: `https://forge.example.com/${FORGE_REPOSITORY}/pulls/${number}`,
    base: { ref: base, repo: { full_name: FORGE_REPOSITORY } },
    head: { ref: head, sha: headSha, repo: { full_name: from } },
  }
}

const speakGitlab: Speak = (world, asked) =>
  gitlabStatuses(world, asked) ??
  gitlabNotes(world, asked) ??
  gitlabRequests(world, asked) ??
  NOT_FOUND

function gitlabStatuses(world: World, { method, path, query, body }: Asked): Said | undefined {
  const [, posted] = /^\/statuses\/([0-9a-f]{40})$/.exec(path) ?? []
  const [, shown] = /^\/repository\/commits\/([0-9a-f]{40})\/statuses$/.exec(path) ?? []
  if (method === 'GET' && shown !== undefined) {
    const found = newest(world, shown).filter((one) => one.context === query.get('name'))
    const list = found.map(({ id, context, state, description }) => {
      return { id, name: context, status: state, description }
    })
    return { status: 200, body: list }
  }
  if (method !== 'POST' || posted === undefined) return undefined
  const { name = '', state = '' } = body
  const last = newest(world, posted).find((one) => one.context === name)
  if (last?.state === state && state === 'pending') {
    const message = 'Cannot transition status via :enqueue from :pending'
    return { status: 400, body: { message } }
  }
  return { status: 201, body: { id: addStatus(world, posted, { ...body, context: name }).id } }
}

function gitlabNotes(world: World, { method, path, body }: Asked): Said | undefined {
  const [, pull, id] = /^\/merge_requests\/(\d+)\/notes(?:\/(\d+))?$/.exec(path) ?? []
  return speakComments(world, { method, pull, id: method === 'PUT' ? id : undefined, body })
}

function gitlabRequests(world: World, { method, path, query, body }: Asked): Said | undefined {
  const [, number] = /^\/merge_requests(?:\/(\d+))?$/.exec(path) ?? []
  if (path !== '/merge_requests' && number === undefined) return undefined
  if (method === 'GET') {
    const source = query.get('source_branch')
    const open = world.pulls.filter((one) => one.open && (source === null || one.head === source))
    return { status: 200, body: open.map(gitlabRequest) }
  }
  const { source_branch: head = '', target_branch: base = '', title = '' } = body
  const { description: text = '' } = body
  if (method === 'PUT') {
    const pull = world.pulls.find((one) => one.number === Number(number))
    if (!pull) return NOT_FOUND
    Object.assign(pull, { title, body: text })
    return { status: 200, body: gitlabRequest(pull) }
  }
  const isThere = world.pulls.some((one) => one.open && one.base === base && one.head === head)
  if (isThere) return { status: 409, body: { message: ['Another open merge request exists'] } }
  return { status: 201, body: gitlabRequest(addPull(world, { base, head, title, body: text })) }
}

function gitlabRequest({ number, base, head, headSha, from, title, body }: FakePull): object {
  return {
    id: 9000 + number,
    iid: number,
    title,
    description: body,
    web_url: `https://forge.example.com/${FORGE_REPOSITORY}/-/merge_requests/${number}`,
    target_branch: base,
    source_branch: head,
    sha: headSha,
    target_project_id: 1,
    source_project_id: from === FORGE_REPOSITORY ? 1 : 2,
  }
}

/** What each forge answers, by its own API. */
export const SPEAKERS: Readonly<Record<ForgeName, Speak>> = {
  github: speakLikeGithub('state', STATUSES_MAX),
  gitlab: speakGitlab,
  gitea: speakLikeGithub('status', Number.POSITIVE_INFINITY),
}
