import { constants, existsSync } from 'node:fs'
import { access, statfs } from 'node:fs/promises'
import { BlockList, isIP } from 'node:net'
import path from 'node:path'
import type { Config } from '../../config.ts'
import { messageOf } from '../../errors.ts'
import { fine, warning, wrong, type Finding } from './finding.ts'

const NODE_MIN = 24
/** Below it there is no room for a day of a busy installation. */
const FREE_BYTES_LOW = 1024 ** 3
/** Below it Postgres is about to stop. */
const FREE_BYTES_MIN = 128 * 1024 ** 2
/** Where clouds answer with credentials to whoever asks. */
const METADATA = ['169.254.169.254', 'fd00:ec2::254'] as const

/** Whether this Node runs the program as it was tried; `version` is such as 24.3.0. */
export function checkNode(version: string): Finding {
  if (Number(version.split('.')[0]) >= NODE_MIN) return fine('node', `Node ${version}`)
  const message = `this is Node ${version}, and Belfry needs ${NODE_MIN} or newer`
  return wrong('node', message, `Install Node ${NODE_MIN}.`)
}

/** What the settings say beside what keeps a server from starting. */
export function checkSettings({ warnings }: Config): readonly Finding[] {
  const fix = 'Correct the name of the variable, or unset it.'
  const found = warnings.map((text) => warning('settings', text, fix))
  return found.length > 0 ? found : [fine('settings', 'they can be read, and each has an effect')]
}

/** Whether the data directory can be written to, and has room. */
export async function checkDisk(dataDirectory: string): Promise<Finding> {
  const place = nearest(dataDirectory)
  try {
    await access(place, constants.W_OK | constants.X_OK)
    const { bavail, bsize } = await statfs(place)
    return judgeRoom(dataDirectory, bavail * bsize)
  } catch (error) {
    const message = `${dataDirectory} cannot be used: ${messageOf(error)}`
    return wrong('disk', message, 'Make it writable, or name another one with BELFRY_DATA_DIR.')
  }
}

/** Whether so many bytes are enough for a data directory. */
export function judgeRoom(dataDirectory: string, bytes: number): Finding {
  const message = `${(bytes / 1024 ** 3).toFixed(1)} GiB are free for ${dataDirectory}`
  const fix = 'Free some room there, or name another place with BELFRY_DATA_DIR.'
  if (bytes < FREE_BYTES_MIN) return wrong('disk', message, fix)
  return bytes < FREE_BYTES_LOW ? warning('disk', message, fix) : fine('disk', message)
}

/** The directory itself, or the nearest one above it that is there. */
function nearest(directory: string): string {
  const parent = path.dirname(directory)
  return existsSync(directory) || parent === directory ? directory : nearest(parent)
}

/** Whether more is opened to outgoing connections than anybody means to open. */
export function checkTargets({ allowedTargets }: Config): readonly Finding[] {
  if (allowedTargets.length === 0)
    return [fine('targets', 'no private or loopback address may be reached by what is sent')]
  const wide = allowedTargets.flatMap((range) => {
    if (range.endsWith('/0')) {
      const message = `${range} opens every address of this network to whoever writes a URL`
      return [
        warning('targets', message, 'Name the hosts that are meant in BELFRY_ALLOWED_TARGETS.'),
      ]
    }
    if (!METADATA.some((address) => isWithin(range, address))) return []
    const message = `${range} opens the address at which clouds hand out credentials`
    return [warning('targets', message, 'Name narrower ranges in BELFRY_ALLOWED_TARGETS.')]
  })
  return wide.length > 0 ? wide : [fine('targets', `${allowedTargets.join(', ')} may be reached`)]
}

function isWithin(range: string, address: string): boolean {
  const [start = '', bits] = range.split('/')
  const family = isIP(start) === 6 ? 'ipv6' : 'ipv4'
  if (family !== (isIP(address) === 6 ? 'ipv6' : 'ipv4')) return false
  const list = new BlockList()
  if (bits === undefined) list.addAddress(start, family)
  else list.addSubnet(start, Number(bits), family)
  return list.check(address, family)
}
