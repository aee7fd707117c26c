import { openDoor } from '../channels/door.ts'
import type { Clock } from '../clock.ts'
import type { ForgeSettings } from '../forge-settings.ts'
import { connect } from './connection.ts'
import type { Forge } from './forge.ts'
import { gitea } from './gitea.ts'
import { github } from './github.ts'
import { gitlab } from './gitlab.ts'

/** Every forge. To add one: write its file, then name it here and in `FORGE_NAMES`. */
export const forges = { github, gitlab, gitea } as const

export interface OpenForge extends Disposable {
  readonly forge: Forge
}

/**
 * Opens the forge that is set. Its address is the operator's own setting and may be a private one;
 * nothing else is reached through this door.
 */
export function openForge(
  settings: ForgeSettings,
  options: { readonly clock: Clock; readonly signal?: AbortSignal },
): OpenForge {
  const kind = forges[settings.name]
  const door = openDoor({ allow: ['0.0.0.0/0', '::/0'], loopback: true })
  const credentials = kind.credentials(settings.token)
  const forge = kind.open(connect(settings, { ...options, door, credentials }))
  return { forge, [Symbol.dispose]: () => door.close() }
}
