import { ConfigError } from '../errors.ts'
import { createClient, environmentOption } from './client.ts'
import { FINE, type Command } from './command.ts'
import { readRecipient } from './recipient.ts'

/** Ends runs that have not ended. */
export const cancel: Command = {
  name: 'cancel',
  summary: 'End runs, and messages that are not handed over yet',
  usage: ['<workflow> --key <cancellation key> [--recipient <recipient>]', '--run <run id>'],
  words: { min: 0, max: 1 },
  options: {
    key: { type: 'string', value: 'key', help: 'the cancellation key that the trigger named' },
    recipient: { type: 'string', short: 'r', multiple: true, help: 'only these recipients' },
    run: { type: 'string', value: 'id', help: 'one run, by its id' },
    environment: environmentOption,
  },
  async run({ words, options, output, settings }) {
    const client = createClient(settings, options)
    const run = options.text('run')
    const key = options.text('key')
    const [workflow] = words
    if (run !== undefined) {
      await client.call('POST', `/v1/workflow_recipient_runs/${encodeURIComponent(run)}/cancel`)
    } else if (workflow !== undefined && key !== undefined) {
      const recipients = options.list('recipient').map(readRecipient)
      await client.call('POST', `/v1/workflows/${encodeURIComponent(workflow)}/cancel`, {
        body: { cancellation_key: key, ...(recipients.length > 0 && { recipients }) },
      })
    } else {
      throw new ConfigError('say what to cancel: a workflow and --key, or --run')
    }
    // The reply does not say whether anything matched, or had ended before.
    output.result({ cancel_requested: true }, () => ['cancel requested'])
    return FINE
  },
}
