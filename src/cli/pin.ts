import { ConfigError } from '../errors.ts'
import { createClient, environmentOption } from './client.ts'
import { FINE, type Command } from './command.ts'
import { printable } from './output.ts'
import type { WireEnvironment } from './wire.ts'

/** Makes an earlier revision live in the place of the tip, until it is released. */
export const pin: Command = {
  name: 'pin',
  summary: 'Go back to an applied revision for now',
  usage: ['<environment> <revision> --reason <text> [--until <time>]', '<environment> --release'],
  words: { min: 1, max: 2 },
  options: {
    reason: {
      type: 'string',
      value: 'text',
      help: 'why; everybody sees it, and the audit keeps it',
    },
    until: { type: 'string', value: 'time', help: 'when it ends by itself, ISO 8601' },
    release: { type: 'boolean', help: 'follow the branch again' },
    environment: environmentOption,
  },
  async run({ words, options, output, settings }) {
    const client = createClient(settings, options)
    const [name = '', revision] = words
    const reason = options.text('reason')
    const path = `/v1/environments/${encodeURIComponent(name)}/pin`
    if (options.flag('release')) {
      if (revision !== undefined) throw new ConfigError('--release takes no revision')
      const reply = await client.call<WireEnvironment>('DELETE', path)
      output.result(reply, () => [`${name} follows ${reply.ref} again`])
      return FINE
    }
    if (revision === undefined || reason === undefined) {
      throw new ConfigError('name the revision and say why with --reason, or --release')
    }
    const body = { revision, reason, expires_at: options.text('until') }
    const reply = await client.call<WireEnvironment>('PUT', path, { body })
    output.result(reply, () => [printable(reply.message)])
    return FINE
  },
}
