import type { ServerResponse } from 'node:http'
import type { ForgeName, ForgeSettings } from '../../src/forge-settings.ts'
import { addPull, FORGE_REPOSITORY, SPEAKERS } from './fake-forge-speech.ts'
import type { FakeComment, FakePull, FakeStatus, Said, World } from './fake-forge-speech.ts'
import { startHttp } from './http.ts'
import type { HttpFake, TakenRequest } from './http.ts'

export const FORGE_TOKEN = 'forge_token_for_tests'

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
  /** Whether a lost answer leaves the connection open. */
  silent: boolean
  /** The posts of a context of a commit. */
  posts(sha: string, context: string): readonly FakeStatus[]
  addPull(pull: Partial<FakePull>): FakePull
}

/** Starts a forge on the loopback that knows one repository and one token. */
export async function startForge(name: ForgeName): Promise<FakeForge> {
  const world: World = { statuses: [], comments: [], pulls: [], ids: { last: 100 } }
  const mood: Pick<FakeForge, 'trouble' | 'losses' | 'silent'> = {
    trouble: undefined,
    losses: 0,
    silent: false,
  }
  const http = await startHttp(async (request, response) => {
    if (mood.trouble && (await mood.trouble(request, response))) return
    const { status, body, link } = answer(name, world, request)
    if (mood.losses > 0 && request.method !== 'GET') {
      mood.losses -= 1
      if (!mood.silent) response.destroy()
      return
    }
    response.writeHead(status, { 'content-type': 'application/json', ...(link && { link }) })
    response.end(JSON.stringify(body))
  })
  const { statuses, comments, pulls } = world
  const settings = {
    name,
    url: `${http.url}/api`,
    repository: FORGE_REPOSITORY,
    token: FORGE_TOKEN,
  }
  return Object.assign(mood, {
    settings,
    http,
    statuses,
    comments,
    pulls,
    posts: (sha: string, context: string) =>
      statuses.filter((one) => one.sha === sha && one.context === context),
    addPull: (pull: Partial<FakePull>) => addPull(world, pull),
    [Symbol.asyncDispose]: () => http[Symbol.asyncDispose](),
  })
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
