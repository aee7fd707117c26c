import { openDoor, type Door } from '../../channels/door.ts'
import { isProviderName, providers } from '../../channels/index.ts'
import { withSecrets } from '../../channels/secret.ts'
import type { Config } from '../../config.ts'
import { messageOf } from '../../errors.ts'
import type { EnvironmentName } from '../../ids.ts'
import type { Channel } from '../../workflow/environment.ts'
import { fine, warning, wrong, type Finding } from './finding.ts'

/** The value of a secret. */
type Read = (name: string) => string

const CONNECT_MS_MAX = 5_000

/** Whether each channel can be connected to from here, as a hand-over would be. Sends nothing. */
export async function checkProviders(
  config: Config,
  environment: EnvironmentName,
  { channels, read }: { readonly channels: readonly Channel[]; readonly read: Read },
): Promise<readonly Finding[]> {
  if (channels.length === 0) {
    const message = `${environment} has no channels, so none of its messages goes out`
    return [warning('providers', message, `Add channels to environments/${environment}.yaml.`)]
  }
  await using door = openDoor({ allow: config.allowedTargets, loopback: config.dev })
  return await Promise.all(channels.map((one) => checkChannel(door, environment, { ...one, read })))
}

async function checkChannel(
  door: Door,
  environment: EnvironmentName,
  { key, provider: name, settings, sandbox, read }: Channel & { readonly read: Read },
): Promise<Finding> {
  const what = `${environment}/${key} (${name})`
  if (sandbox) return fine('providers', `${what} hands nothing over: it is a sandbox`)
  const provider = isProviderName(name) ? providers[name] : undefined
  const target = provider?.target?.(withSecrets(settings, read) as never)
  if (target === undefined)
    return fine('providers', `${what} is valid, and has no server of its own`)
  const { host, port } = target
  const signal = AbortSignal.timeout(CONNECT_MS_MAX)
  try {
    const socket = await door.connect(host, port, { signal, connectMs: CONNECT_MS_MAX })
    socket.destroy()
    return fine('providers', `${what} is valid; ${host}:${port} takes connections`)
  } catch (error) {
    const message = `${what}: ${host}:${port} cannot be reached: ${messageOf(error)}`
    return wrong('providers', message, 'Correct its host and port, or the way from here to it.')
  }
}
