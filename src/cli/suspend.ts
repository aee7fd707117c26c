import { ConfigError } from '../errors.ts'
import { createClient, environmentOption } from './client.ts'
import { FINE, type Command } from './command.ts'
import type { WireEnvironment } from './wire.ts'

/** Keeps what Git says from being applied, until it is resumed. */
export const suspend: Command = {
  name: 'suspend',
  summary: 'Apply nothing to an environment for now',
  usage: ['<environment> --reason <text>', '<environment> --resume'],
  words: { min: 1, max: 1 },
  options: {
    reason: {
      type: 'string',
      value: 'text',
      help: 'why; everybody sees it, and the audit keeps it',
    },
    resume: { type: 'boolean', help: 'follow the branch again' },
    environment: environmentOption,
  },
  async run({ words, options, output, settings }) {
    const client = createClient(settings, options)
    const [name = ''] = words
    const reason = options.text('reason')
    const isResume = options.flag('resume')
    if (isResume === (reason !== undefined)) {
      throw new ConfigError('say why with --reason, or --resume')
    }
    const path = `/v1/environments/${encodeURIComponent(name)}/suspend`
    const reply = isResume
      ? await client.call<WireEnvironment>('DELETE', path)
      : await client.call<WireEnvironment>('PUT', path, { body: { reason } })
    output.result(reply, () => [
      isResume ? resumed(reply) : `nothing is applied to ${name} until it is resumed`,
    ])
    return FINE
  },
}

function resumed({ name, ref, pinned }: WireEnvironment): string {
  return pinned ? `${name} is resumed, and stays pinned` : `${name} follows ${ref} again`
}
