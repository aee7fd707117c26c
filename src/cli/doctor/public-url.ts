import { openDoor } from '../../channels/door.ts'
import { isLoopback } from '../../channels/target.ts'
import type { Config } from '../../config.ts'
import { messageOf } from '../../errors.ts'
import { fine, warning, type Finding } from './finding.ts'

const ANSWER_MS_MAX = 5_000

/** Whether others find the server where it says that it is. Sends no key. */
export async function checkPublicUrl(config: Config): Promise<readonly Finding[]> {
  const { publicUrl, forge, host, port } = config
  if (publicUrl === undefined && forge) {
    const message = 'it is not set, so commit statuses link to nothing'
    return [warning('public_url', message, 'Set BELFRY_PUBLIC_URL to where people find Belfry.')]
  }
  if (publicUrl === undefined) {
    const message = `it is not set, which stands for http://${host}:${port}; nothing links to it`
    return [fine('public_url', message)]
  }
  return [...checkScheme(publicUrl), await checkAnswer(publicUrl)]
}

function checkScheme(publicUrl: string): readonly Finding[] {
  const { protocol, hostname } = new URL(publicUrl)
  const bare = hostname.replace(/^\[|\]$/g, '')
  if (protocol === 'https:' || bare === 'localhost' || isLoopback(bare)) return []
  const message = `${publicUrl} is plain HTTP: keys that are used there can be read on the way`
  return [warning('public_url', message, 'Put HTTPS before it, and name that address.')]
}

async function checkAnswer(publicUrl: string): Promise<Finding> {
  // The address is the operator's own setting, so it may be a private one.
  await using door = openDoor({ allow: ['0.0.0.0/0', '::/0'], loopback: true })
  const fix = 'Correct BELFRY_PUBLIC_URL, or what stands before the server.'
  try {
    const url = `${publicUrl}/healthz`
    const { status, body } = await door.request(url, {
      method: 'GET',
      headers: {},
      totalMs: ANSWER_MS_MAX,
    })
    const isOurs = status === 200 && /^\{"status":"ok"\}$/.test(body.toString())
    if (isOurs) return fine('public_url', `${publicUrl} leads to Belfry`)
    const message = `${publicUrl} answers, and not as Belfry does (HTTP ${status})`
    return warning('public_url', message, fix)
  } catch (error) {
    return warning('public_url', `${publicUrl} does not answer: ${messageOf(error)}`, fix)
  }
}
