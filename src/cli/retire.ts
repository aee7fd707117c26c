import { ConfigError } from '../errors.ts'
import { createClient, environmentOption } from './client.ts'
import { FINE, type Command } from './command.ts'
import { printable } from './output.ts'
import type { WireEnvironment } from './wire.ts'

/** Ends an environment whose file is gone from the default branch. */
export const retire: Command = {
  name: 'retire',
  summary: 'Take an environment that is no longer declared out of service',
  usage: ['<environment> --reason <text>', '<environment> --undo'],
  words: { min: 1, max: 1 },
  options: {
    reason: {
      type: 'string',
      value: 'text',
      help: 'why; everybody sees it, and the audit keeps it',
    },
    undo: { type: 'boolean', help: 'what was live is live again' },
    environment: environmentOption,
  },
  async run({ words, options, output, settings }) {
    const client = createClient(settings, options)
    const [name = ''] = words
    const reason = options.text('reason')
    const isUndo = options.flag('undo')
    if (isUndo === (reason !== undefined)) throw new ConfigError('say why with --reason, or --undo')
    const path = `/v1/environments/${encodeURIComponent(name)}/retire`
    const reply = isUndo
      ? await client.call<WireEnvironment>('DELETE', path)
      : await client.call<WireEnvironment>('PUT', path, { body: { reason } })
    output.result(reply, () => [printable(reply.message)])
    return FINE
  },
}
