import { ConfigError, messageOf } from '../errors.ts'
import { noMetrics } from '../metrics.ts'
import type { Metrics } from '../metrics.ts'
import { UnsupportedRepository } from './location.ts'
import { AuthenticationFailure, MissingRepository, namingRemote } from './remote-failure.ts'
import { listRefs } from './smart-http.ts'
import { openTransport } from './transport.ts'
import type { Limits } from './transport.ts'
import { RemoteRepository } from './remote.ts'
import { isForeignAddress, isRemote, parseRemoteAddress } from '../remote-address.ts'
import type { Credentials, RemoteAddress } from '../remote-address.ts'
import { openRepository } from './repository.ts'
import type { CommitSource, WorkingSource } from './source.ts'
import { WorkingTree } from './working-tree.ts'

/** Where revisions come from: commits, and in development mode also the working tree. */
export interface Sources {
  readonly repository: CommitSource
  readonly workingTree: WorkingSource | null
}

/** How a remote is reached, and where it is mirrored. */
export interface RemoteSettings {
  readonly address: RemoteAddress
  readonly mirrors: string
  /** Under which refs a forge keeps pull requests; absent: their moves are not looked for. */
  readonly pullRefs?: string | undefined
  /** Where fetches are counted; nowhere when left out. */
  readonly metrics?: Metrics
}

/**
 * Opens the repository that `path` is or lies in.
 * Throws a `ConfigError` where there is none, or where development mode finds no working tree.
 */
export async function openSources(
  path: string,
  { development }: { readonly development: boolean },
): Promise<Sources> {
  if (isForeignAddress(path) || isRemote(path)) {
    throw new ConfigError(
      `${path} is no path: name a local repository, or a remote over HTTPS with --repo`,
    )
  }
  const repository = await openRepository(path)
  if (!development) return { repository, workingTree: null }
  const { workTree, ...location } = repository.location
  if (workTree === null) {
    throw new ConfigError(
      `${path} is a bare repository: development mode needs one with a working tree`,
    )
  }
  return { repository, workingTree: new WorkingTree({ ...location, workTree }) }
}

/** Opens the mirror of a remote, without asking it yet. Throws a `ConfigError` in development mode, which edits files. */
export async function openRemote(
  { address, mirrors, pullRefs, metrics = noMetrics }: RemoteSettings,
  { development }: { readonly development: boolean },
): Promise<RemoteRepository> {
  if (development) {
    throw new ConfigError(
      `${address.url} is a remote: development mode needs a repository with a working tree`,
    )
  }
  return RemoteRepository.open({ address, directory: mirrors, pullRefs, metrics })
}

/** Whether a remote answers and lets us in; `message` says what to do. */
export type RemoteCheck =
  | {
      readonly kind: 'readable'
      /** The branch that its HEAD stands for; null where it stands for none. */
      readonly head: string | null
      readonly branches: number
    }
  | {
      readonly kind:
        | 'authentication'
        | 'repository_missing'
        | 'unsupported_repository'
        | 'unreachable'
      readonly message: string
    }

const CHECK_LIMITS: Limits = { idleMs: 10_000, totalMs: 20_000, bytesMax: 64 * 1024 * 1024 }

/** Asks a remote for its refs and fetches nothing. Throws a `ConfigError` for an address that cannot be one. */
export async function checkRemote(
  url: string,
  credentials: Partial<Credentials>,
  limits: Limits = CHECK_LIMITS,
): Promise<RemoteCheck> {
  const transport = openTransport(
    parseRemoteAddress(url, credentials),
    new AbortController().signal,
  )
  try {
    const { refs, head } = await listRefs(transport, ['refs/heads/'], limits)
    const branch = head?.replace(/^refs\/heads\//, '') ?? null
    return { kind: 'readable', head: branch, branches: refs.size }
  } catch (error) {
    return { kind: kindOf(error), message: messageOf(namingRemote(transport.address.url, error)) }
  }
}

function kindOf(error: unknown): Exclude<RemoteCheck['kind'], 'readable'> {
  if (error instanceof AuthenticationFailure) return 'authentication'
  if (error instanceof MissingRepository) return 'repository_missing'
  return error instanceof UnsupportedRepository ? 'unsupported_repository' : 'unreachable'
}
