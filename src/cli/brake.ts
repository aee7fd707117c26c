import { ConfigError } from '../errors.ts'
import { createClient, environmentOption } from './client.ts'
import type { CommandContext, Option } from './command.ts'
import type { WireEnvironment } from './wire.ts'

/** What a brake that needs a reason is told, and by which option it is let go of. */
export function brakeOptions(undo: string, help: string): Readonly<Record<string, Option>> {
  return {
    reason: {
      type: 'string',
      value: 'text',
      help: 'why; everybody sees it, and the audit keeps it',
    },
    [undo]: { type: 'boolean', help },
    environment: environmentOption,
  }
}

/** Uses a brake of the environment that is named, or lets go of it; answers the environment as it is then. */
export async function useBrake(
  brake: string,
  undo: string,
  { words, options, settings }: CommandContext,
): Promise<{ readonly environment: WireEnvironment; readonly isUndone: boolean }> {
  const [name = ''] = words
  const reason = options.text('reason')
  const isUndone = options.flag(undo)
  if (isUndone === (reason !== undefined)) {
    throw new ConfigError(`say why with --reason, or --${undo}`)
  }
  const client = createClient(settings, options)
  const path = `/v1/environments/${encodeURIComponent(name)}/${brake}`
  const environment = isUndone
    ? await client.call<WireEnvironment>('DELETE', path)
    : await client.call<WireEnvironment>('PUT', path, { body: { reason } })
  return { environment, isUndone }
}
