import { createClient, environmentOption } from './client.ts'
import { FINE, type Command } from './command.ts'
import { showDryRun, type WireDryRun } from './dry-run.ts'
import { readJson, readRecipient } from './recipient.ts'

/** Asks a workflow to run. */
export const trigger: Command = {
  name: 'trigger',
  summary: 'Run a workflow for recipients',
  usage: ['<workflow> --recipient <recipient> [--data <json>] [--dry-run]'],
  words: { min: 1, max: 1 },
  options: {
    recipient: {
      type: 'string',
      short: 'r',
      multiple: true,
      help: 'a user id, collection/id, or a JSON object with an id and properties',
    },
    data: { type: 'string', short: 'd', value: 'json|@file', help: 'what templates see as data' },
    actor: { type: 'string', value: 'recipient', help: 'who caused it' },
    tenant: { type: 'string', value: 'id', help: 'on whose behalf' },
    'cancellation-key': { type: 'string', value: 'key', help: 'what a later cancel names' },
    'idempotency-key': {
      type: 'string',
      value: 'key',
      help: 'repeat the call without repeating it',
    },
    sandbox: { type: 'boolean', help: 'make and render messages, and send none' },
    'dry-run': { type: 'boolean', help: 'show what would happen; store and send nothing' },
    'skip-delay': { type: 'boolean', help: 'let delays end at once' },
    environment: environmentOption,
  },
  async run({ words, options, output, settings, host }) {
    const client = createClient(settings, options)
    const key = options.text('idempotency-key')
    const path = `/v1/workflows/${encodeURIComponent(words[0] ?? '')}/trigger`
    if (options.flag('dry-run')) {
      const call = { body: bodyOf(options), query: { dry_run: 'true' } }
      const reply = await client.call<WireDryRun>('POST', path, call)
      output.result(reply, () => showDryRun(reply, output))
      return FINE
    }
    const reply = await client.call<{ workflow_run_id: string }>('POST', path, {
      body: bodyOf(options),
      ...(key !== undefined && { idempotencyKey: key }),
    })
    output.result(reply, () => [`workflow run ${reply.workflow_run_id}`])
    output.note(`what came of it: ${host.program} runs --workflow-run ${reply.workflow_run_id}`)
    return FINE
  },
}

function bodyOf(options: Parameters<Command['run']>[0]['options']): object {
  const data = options.text('data')
  const actor = options.text('actor')
  return {
    recipients: options.list('recipient').map(readRecipient),
    ...(data !== undefined && { data: readJson('--data', data) }),
    ...(actor !== undefined && { actor: readRecipient(actor) }),
    tenant: options.text('tenant'),
    cancellation_key: options.text('cancellation-key'),
    settings: { sandbox_mode: options.flag('sandbox'), skip_delay: options.flag('skip-delay') },
  }
}
