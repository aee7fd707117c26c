export const FORGE_NAMES = ['github', 'gitlab', 'gitea'] as const
export type ForgeName = (typeof FORGE_NAMES)[number]

/** Which forge is told what becomes of a commit. */
export interface ForgeSettings {
  readonly name: ForgeName
  /** The base of its API, without a slash at the end. */
  readonly url: string
  /** `owner/name`; groups may be nested where the forge has them. */
  readonly repository: string
  readonly token: string
}

/** The settings as they were written. */
export interface ForgeTexts {
  readonly name: ForgeName | undefined
  readonly url: string | undefined
  readonly repository: string | undefined
  readonly token: string | undefined
  /** The repository that is followed: a path, or the URL of a remote. */
  readonly followed: string
}

/** Takes a problem: the setting, and what is wrong with it. */
type Report = (setting: string, problem: string) => void

/** Where the API stands on a server of one's own. */
const API_PATHS: Readonly<Record<ForgeName, string>> = {
  github: '/api/v3',
  gitlab: '/api/v4',
  gitea: '/api/v1',
}
const GITHUB_URL = 'https://api.github.com'
const GITLAB_URL = 'https://gitlab.com/api/v4'
const REPOSITORY = /^[\w.-]+(\/[\w.-]+)+$/
const TOKEN_LENGTH_MIN = 8

/**
 * What was set, with what follows from the followed repository where that is a remote. Undefined
 * where no forge is set, and where something is reported.
 */
export function forgeSettings(texts: ForgeTexts, report: Report): ForgeSettings | undefined {
  const { name, token } = texts
  if (name === undefined) {
    if (token !== undefined) report('BELFRY_FORGE', 'is not set, but BELFRY_FORGE_TOKEN is')
    return undefined
  }
  const remote = URL.canParse(texts.followed) ? new URL(texts.followed) : undefined
  const followed = remote && /^https?:$/.test(remote.protocol) ? remote : undefined
  const url = apiUrl(name, texts.url, followed)
  const repository = texts.repository ?? pathOf(followed)
  const problems = [
    urlProblem(url),
    repositoryProblem(name, repository),
    tokenProblem(token),
  ].filter((problem) => problem !== undefined)
  for (const [setting, problem] of problems) report(setting, problem)
  if (problems.length > 0) return undefined
  return { name, url: url ?? '', repository: repository ?? '', token: token ?? '' }
}

function apiUrl(
  name: ForgeName,
  set: string | undefined,
  followed: URL | undefined,
): string | undefined {
  if (set !== undefined) return set.replace(/\/+$/, '')
  if (followed && followed.hostname !== 'github.com') return followed.origin + API_PATHS[name]
  if (name === 'github') return GITHUB_URL
  return name === 'gitlab' ? GITLAB_URL : undefined
}

function pathOf(followed: URL | undefined): string | undefined {
  return followed?.pathname.replace(/^\/+|\/+$/g, '').replace(/\.git$/, '')
}

type Problem = readonly [setting: string, problem: string]

function urlProblem(url: string | undefined): Problem | undefined {
  const setting = 'BELFRY_FORGE_URL'
  if (url === undefined) return [setting, 'must name the base of the API for this forge']
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (!parsed || !/^https?:$/.test(parsed.protocol)) return [setting, 'is not an http(s) URL']
  if (parsed.username !== '' || parsed.password !== '') {
    return [setting, 'must not hold credentials; set BELFRY_FORGE_TOKEN']
  }
  if (parsed.search !== '' || parsed.hash !== '') return [setting, 'must end with a path']
  const isLoopback = /^(127(\.\d+){3}|\[::1\]|localhost)$/.test(parsed.hostname)
  // The token would be readable on its way.
  if (parsed.protocol === 'http:' && !isLoopback) return [setting, 'must be an https URL']
  return undefined
}

function repositoryProblem(name: ForgeName, repository: string | undefined): Problem | undefined {
  const setting = 'BELFRY_FORGE_REPO'
  if (repository === undefined) {
    return [setting, 'must name the repository on the forge, such as example/notifications']
  }
  const parts = repository.split('/')
  const isNested = parts.length > 2 && name !== 'gitlab'
  const isPath = REPOSITORY.test(repository) && !parts.some((part) => /^\.{1,2}$/.test(part))
  return !isPath || isNested
    ? [setting, `${JSON.stringify(repository)} is not owner/name`]
    : undefined
}

function tokenProblem(token: string | undefined): Problem | undefined {
  const setting = 'BELFRY_FORGE_TOKEN'
  if (token === undefined) return [setting, 'must hold a token that may write commit statuses']
  if (token.length < TOKEN_LENGTH_MIN) {
    return [setting, `is shorter than ${TOKEN_LENGTH_MIN} characters`]
  }
  return /^[\x21-\x7e]+$/.test(token) ? undefined : [setting, 'holds what no header can carry']
}
