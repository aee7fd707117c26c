import { createClient, environmentOption } from './client.ts'
import { FINE, type Command } from './command.ts'
import { table } from './output.ts'
import { showRecipient } from './recipient.ts'
import type { WireList, WireRun } from './wire.ts'

/** Lists runs, newest first. */
export const runs: Command = {
  name: 'runs',
  summary: 'List runs, newest first',
  usage: ['[--workflow <key>] [--recipient <recipient>] [--status <status>]'],
  words: { min: 0, max: 0 },
  options: {
    workflow: { type: 'string', short: 'w', value: 'key', help: 'of this workflow' },
    'workflow-run': { type: 'string', value: 'id', help: 'of one trigger' },
    recipient: { type: 'string', short: 'r', help: 'of this user, or of this collection/id' },
    status: {
      type: 'string',
      multiple: true,
      help: 'queued, processing, paused, completed, cancelled',
    },
    outcome: { type: 'string', help: 'completed, batched, throttled, halted, failed, cancelled' },
    reason: { type: 'string', help: 'why it ended' },
    tenant: { type: 'string', value: 'id', help: 'on behalf of this tenant' },
    'cancellation-key': { type: 'string', value: 'key', help: 'triggered with this key' },
    after: { type: 'string', value: 'cursor', help: 'the next page' },
    limit: { type: 'string', value: '1-50', help: 'default: 50' },
    environment: environmentOption,
  },
  async run({ options, output, settings }) {
    const client = createClient(settings, options)
    const recipient = options.text('recipient')
    const list = await client.call<WireList<WireRun>>('GET', '/v1/workflow_recipient_runs', {
      query: {
        workflow: options.text('workflow'),
        workflow_run_id: options.text('workflow-run'),
        status: options.list('status'),
        outcome: options.text('outcome'),
        reason: options.text('reason'),
        tenant: options.text('tenant'),
        cancellation_key: options.text('cancellation-key'),
        after: options.text('after'),
        page_size: options.text('limit'),
        ...recipientQuery(recipient),
      },
    })
    output.result(list, () =>
      list.items.length === 0 ? ['no runs'] : table(HEAD, list.items.map(row)),
    )
    const { after } = list.page_info
    if (after) output.note(`more: --after ${after}`)
    return FINE
  },
}

const HEAD = ['RUN', 'WORKFLOW', 'RECIPIENT', 'STATUS', 'OUTCOME', 'TRIGGERED']

function row(run: WireRun): string[] {
  const why = run.reason ? `${run.outcome ?? ''}: ${run.reason}` : (run.outcome ?? '')
  const outcome = run.wakes_at ? `wakes ${run.wakes_at}` : why
  const { id, workflow, status, inserted_at: at } = run
  return [id, workflow, showRecipient(run.recipient), status, outcome, at]
}

/** A recipient as a query names it: an id, or a collection and an id. */
export function recipientQuery(recipient: string | undefined): Record<string, string> {
  if (recipient === undefined) return {}
  const slash = recipient.indexOf('/')
  if (slash < 0) return { recipient }
  return {
    'recipient[collection]': recipient.slice(0, slash),
    'recipient[id]': recipient.slice(slash + 1),
  }
}
