import { mkdtemp, readdir, rm, stat, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { ConfigError, messageOf, unreachable } from '../../errors.ts'
import { placeOf, type Location } from '../../git/location.ts'
import { adviseOnPacks } from '../../git/object-store.ts'
import { checkRemote, openRemote, openSources, type RemoteCheck } from '../../git/open.ts'
import type { RemoteAddress } from '../../remote-address.ts'
import { checkEnvironments, type Place } from './environments.ts'
import { fine, warning, wrong, type Finding } from './finding.ts'

/** No command of Git holds a lock for so long. */
const LOCK_MS_MAX = 600_000
/** Magic numbers of file systems that are changed from elsewhere: NFS, SMB, 9P, VirtualBox, FUSE. */
const SHARED = new Set([0x6969, 0x517b, 0xff534d42, 0xfe534d42, 0x01021997, 0x786f4256, 0x65735546])

/** Whether the repository can be read and kept up with, what it declares, and whether that has what it needs. */
export function checkGit(here: Place, now: Date): Promise<readonly Finding[]> {
  const { remote } = here.config
  return remote ? checkOverHttp(here, remote) : checkLocal(here, now)
}

async function checkLocal(here: Place, now: Date): Promise<readonly Finding[]> {
  const { config } = here
  try {
    const sources = await openSources(config.repository, { development: config.dev })
    const { repository } = sources
    const refs = await repository.refs()
    const { location } = repository
    const place = placeOf(location)
    const advice = repository.size ? adviseOnPacks(place, repository.size()) : null
    return [
      fine('git', `${place} can be read`),
      ...(advice === null ? [] : [adviceFinding(advice)]),
      ...(await checkLocks(location, now)),
      ...(await checkFileSystem(location)),
      ...(await checkEnvironments(here, sources, refs)),
    ]
  } catch (error) {
    const fix =
      error instanceof ConfigError
        ? 'Name a repository that can be read with --repo or BELFRY_REPO.'
        : 'Mend the repository as it says; nothing is applied until then.'
    return [wrong('git', messageOf(error), fix)]
  }
}

/** Advice says what is wrong and, after the colon, what to do. */
function adviceFinding(advice: string): Finding {
  const [message = advice, fix = advice] = advice.split(': ')
  return warning('git', message, fix)
}

async function checkLocks(location: Location, now: Date): Promise<readonly Finding[]> {
  const { gitDir, commonDir } = location
  const refs = await readdir(path.join(commonDir, 'refs'), { recursive: true }).catch(() => [])
  const files = [
    ...['index', 'HEAD'].map((name) => path.join(gitDir, `${name}.lock`)),
    ...['packed-refs', 'config', 'shallow'].map((name) => path.join(commonDir, `${name}.lock`)),
    ...refs
      .filter((name) => name.endsWith('.lock'))
      .map((name) => path.join(commonDir, 'refs', name)),
  ]
  const found = await Promise.all(files.map((file) => checkLock(file, now)))
  return found.flat()
}

async function checkLock(file: string, now: Date): Promise<readonly Finding[]> {
  const lock = await stat(file).catch(() => undefined)
  const ageMs = lock === undefined ? 0 : now.getTime() - lock.mtimeMs
  if (ageMs < LOCK_MS_MAX) return []
  const message = `${file} is ${Math.floor(ageMs / 60_000)} minutes old: Git was cut off while it wrote`
  return [warning('git', message, `See that no Git command is running, then remove ${file}`)]
}

async function checkFileSystem({ commonDir }: Location): Promise<readonly Finding[]> {
  const { type } = await statfs(commonDir)
  if (!SHARED.has(type)) return []
  const message = 'the repository is on a shared file system: what others change there is not told'
  return [
    warning('watcher', message, 'Such changes wait for the safety poll: see BELFRY_POLL_SECONDS.'),
  ]
}

async function checkOverHttp(here: Place, remote: RemoteAddress): Promise<readonly Finding[]> {
  const check = await checkRemote(remote.url, remote.credentials ?? {})
  if (check.kind !== 'readable') return [wrong('git', check.message, adviceOn(check.kind))]
  const { head, branches } = check
  const count = branches === 1 ? '1 branch' : `${branches} branches`
  const readable = fine(
    'git',
    `${remote.url} lets us in: ${count}, HEAD is ${head ?? 'none of them'}`,
  )
  // A server's own mirror is written by that server alone.
  const directory = await mkdtemp(path.join(tmpdir(), 'belfry-doctor-'))
  try {
    const options = { address: remote, mirrors: directory }
    await using repository = await openRemote(options, { development: here.config.dev })
    const refs = await repository.refs()
    const sources = { repository, workingTree: null }
    return [readable, ...(await checkEnvironments(here, sources, refs))]
  } catch (error) {
    const fix = 'See that the server lets us fetch, and is quick enough.'
    return [readable, wrong('git', messageOf(error), fix)]
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

function adviceOn(kind: Exclude<RemoteCheck['kind'], 'readable'>): string {
  switch (kind) {
    case 'authentication':
      return 'Correct BELFRY_GIT_USERNAME and BELFRY_GIT_PASSWORD.'
    case 'repository_missing':
      return 'Correct BELFRY_REPO, or give the credentials access to it.'
    case 'unsupported_repository':
      return 'Convert the repository; nothing is applied until then.'
    case 'unreachable':
      return 'Correct BELFRY_REPO, or the way from this machine to it.'
    default:
      return unreachable(kind)
  }
}
