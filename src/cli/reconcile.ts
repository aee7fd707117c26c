import { ConfigError } from '../errors.ts'
import { createClient, environmentOption } from './client.ts'
import { FINE, type Command } from './command.ts'
import { loadEnvironments, showWaited } from './status.ts'
import { judgeWait, waitFor } from './wait.ts'

/** Asks for a look at Git now. */
export const reconcile: Command = {
  name: 'reconcile',
  summary: 'Look at Git now',
  usage: [
    '[environment] [--wait]',
    '[environment] --allow-prune <revision>',
    '[environment] --allow-rewrite <revision>',
  ],
  words: { min: 0, max: 1 },
  options: {
    wait: { type: 'boolean', help: 'until the look is done, at most a minute' },
    'allow-prune': {
      type: 'string',
      value: 'revision',
      help: 'confirm what this revision archives',
    },
    'allow-rewrite': {
      type: 'string',
      value: 'revision',
      help: 'confirm that this revision rewrites the branch',
    },
    environment: environmentOption,
  },
  async run({ words, options, output, settings }) {
    const client = createClient(settings, options)
    const name = words[0] ?? client.environment
    if (name === undefined) throw new ConfigError('say which environment: belfry reconcile <name>')
    const path = `/v1/environments/${encodeURIComponent(name)}/reconcile`
    const [prune, rewrite] = [options.text('allow-prune'), options.text('allow-rewrite')]
    const isPlain = prune === undefined && rewrite === undefined
    const call = isPlain ? {} : { body: { allow_prune: prune, allow_rewrite: rewrite } }
    const { id } = await client.call<{ id: string }>('POST', path, call)
    if (!options.flag('wait')) {
      output.result({ id }, () => [`asked for a look at ${name}: request ${id}`])
      return FINE
    }
    const waited = await waitFor(
      () => loadEnvironments(client, name),
      ([one]) => (one?.last_handled_request === id ? judgeWait(one, undefined) : 'wait'),
    )
    return showWaited(waited, output)
  },
}
