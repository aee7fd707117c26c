import type { ServerResponse } from 'node:http'
import type { ForgeName, ForgeSettings } from '../../src/forge-settings.ts'
import { startHttp } from './http.ts'
import type { HttpFake, TakenRequest } from './http.ts'

export const FORGE_TOKEN = 'forge_token_for_tests'
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

/** Answers a request in the place of the forge, before it does anything; false where the forge shall. */
export type Trouble = (
  request: TakenRequest,
  response: ServerResponse,
) => boolean | Promise<boolean>

/** A forge as far as it is spoken to: it keeps what it is told, in the shapes of its API. */
export interface FakeForge extends AsyncDisposable {
  readonly settings: ForgeSettings
  readonly http: HttpFake
  /** Every status that was ever posted, oldest first. */
  readonly statuses: readonly FakeStatus[]
  readonly comments: readonly FakeComment[]
  readonly pulls: FakePull[]
  /** What it does instead of its work; undefined for none. */
  trouble: Trouble | undefined
  /** Of so many requests that write, it does the work and loses the answer. */
  losses: number
  /** The posts of a context of a commit. */
  posts(sha: string, context: string): readonly FakeStatus[]
  addPull(pull: Partial<FakePull>): FakePull
}

interface World {
  readonly statuses: FakeStatus[]
  readonly comments: FakeComment[]
  readonly pulls: FakePull[]
  readonly ids: { last: number }
}

interface Asked {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly body: Record<string, string>
}

interface Said {
  readonly status: number
  readonly body: unknown
}

type Speak = (world: World, asked: Asked) => Said

/** How many statuses GitHub takes for one context of one commit. */
export const STATUSES_MAX = 1000

/** Starts a forge on the loopback that knows one repository and one token. */
export async function startForge(name: ForgeName): Promise<FakeForge> {
  const world: World = { statuses: [], comments: [], pulls: [], ids: { last: 100 } }
  const state: { trouble: Trouble | undefined; losses: number } = { trouble: undefined, losses: 0 }
  const http = await startHttp(async (request, response) => {
    if (state.trouble && (await state.trouble(request, response))) return
    const { status, body, link } = answer(name, world, request)
    if (state.losses > 0 && request.method !== 'GET') {
      state.losses -= 1
      response.destroy()
      return
    }
    response.writeHead(status, { 'content-type': 'application/json', ...(link && { link }) })
    response.end(JSON.stringify(body))
  })
  return {
    settings: {
      name,
      url: `${http.url}/api`,
      repository: FORGE_REPOSITORY,
      token: FORGE_TOKEN,
    },
    http,
    ...world,
    get trouble() {
      return state.trouble
    },
    set trouble(trouble) {
      state.trouble = trouble
    },
    get losses() {
      return state.losses
    },
    set losses(losses) {
      state.losses = losses
    },
    posts: (sha, context) =>
      world.statuses.filter((one) => one.sha === sha && one.context === context),
    addPull: (pull) => addPull(world, pull),
    [Symbol.asyncDispose]: () => http[Symbol.asyncDispose](),
  }
}

function addPull(world: World, pull: Partial<FakePull>): FakePull {
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

const CREDENTIALS: Readonly<Record<ForgeName, readonly [string, string]>> = {
  github: ['authorization', `Bearer ${FORGE_TOKEN}`],
  gitlab: ['private-token', FORGE_TOKEN],
  gitea: ['authorization', `token ${FORGE_TOKEN}`],
}

function answer(
  name: ForgeName,
  world: World,
  request: TakenRequest,
): Said & { readonly link?: string } {
  const [header, value] = CREDENTIALS[name]
  if (request.headers[header] !== value)
    return { status: 401, body: { message: 'Bad credentials' } }
  const url = new URL(request.path, 'http://forge.example.com')
  const project = name === 'gitlab' ? encodeURIComponent(FORGE_REPOSITORY) : FORGE_REPOSITORY
  const root = `/api/${name === 'gitlab' ? 'projects' : 'repos'}/${project}`
  if (!url.pathname.startsWith(`${root}/`)) return { status: 404, body: { message: 'Not Found' } }
  const body = (request.body === '' ? {} : JSON.parse(request.body)) as Record<string, string>
  const { method } = request
  const asked = { method, path: url.pathname.slice(root.length), query: url.searchParams, body }
  return paged(SPEAKERS[name](world, asked), url)
}

/** Cuts a list to the page that was asked for, and says whether there is another. */
function paged({ status, body }: Said, url: URL): Said & { readonly link?: string } {
  const size = Number(url.searchParams.get('per_page') ?? url.searchParams.get('limit') ?? 30)
  const page = Number(url.searchParams.get('page') ?? 1)
  const list = listIn(body)
  if (!list || !url.searchParams.has('page')) return { status, body }
  const some = list.slice((page - 1) * size, page * size)
  const cut = Array.isArray(body) ? some : { ...(body as object), statuses: some }
  url.searchParams.set('page', String(page + 1))
  const link = `<http://elsewhere.example.com${url.pathname}${url.search}>; rel="next"`
  return { status, body: cut, ...(list.length > page * size && { link }) }
}

function listIn(body: unknown): readonly unknown[] | undefined {
  if (Array.isArray(body)) return body
  const { statuses } = body as { readonly statuses?: unknown }
  return Array.isArray(statuses) ? statuses : undefined
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

const SPEAKERS: Readonly<Record<ForgeName, Speak>> = {
  github: speakLikeGithub('state', STATUSES_MAX),
  gitlab: speakGitlab,
  gitea: speakLikeGithub('status', Number.POSITIVE_INFINITY),
}

/** Answers with a status, as a forge in trouble. */
export function failing(status: number, headers: Readonly<Record<string, string>> = {}): Trouble {
  return (request, response) => {
    // A forge may well echo what it was sent.
    const message = `failed with ${JSON.stringify(request.headers)}`
    response.writeHead(status, { 'content-type': 'application/json', ...headers })
    response.end(JSON.stringify({ message }))
    return true
  }
}
