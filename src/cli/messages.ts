import { createClient, environmentOption, type Client } from './client.ts'
import { FINE, type Command, type OptionValues } from './command.ts'
import { printable, table, type Output } from './output.ts'
import { showRecipient } from './recipient.ts'
import type { WireList, WireMessage } from './wire.ts'

/** Lists messages, or shows one with its content and what the provider said. */
export const messages: Command = {
  name: 'messages',
  summary: 'List messages, newest first, or show one',
  usage: ['[--recipient <recipient>] [--workflow <key>] [--status <status>]', '<message id>'],
  words: { min: 0, max: 1 },
  options: {
    recipient: { type: 'string', short: 'r', help: 'to this user, or to this collection/id' },
    workflow: { type: 'string', short: 'w', value: 'key', help: 'of this workflow' },
    'workflow-run': { type: 'string', value: 'id', help: 'of one trigger' },
    run: { type: 'string', value: 'id', help: 'of one run' },
    status: {
      type: 'string',
      multiple: true,
      help: 'queued, sent, delivered, not_sent, undelivered …',
    },
    tenant: { type: 'string', value: 'id', help: 'on behalf of this tenant' },
    after: { type: 'string', value: 'cursor', help: 'the next page' },
    limit: { type: 'string', value: '1-50', help: 'default: 50' },
    environment: environmentOption,
  },
  async run({ words, options, output, settings }) {
    const client = createClient(settings, options)
    const [id] = words
    if (id === undefined) await list(client, options, output)
    else await show(client, id, output)
    return FINE
  },
}

async function list(client: Client, options: OptionValues, output: Output): Promise<void> {
  const recipient = options.text('recipient')
  const found = await client.call<WireList<WireMessage>>('GET', '/v1/messages', {
    query: {
      recipient,
      source: options.text('workflow'),
      workflow_run_id: options.text('workflow-run'),
      workflow_recipient_run_id: options.text('run'),
      status: options.list('status'),
      tenant: options.text('tenant'),
      after: options.text('after'),
      page_size: options.text('limit'),
    },
  })
  output.result(found, () =>
    found.items.length === 0 ? ['no messages'] : table(HEAD, found.items.map(row)),
  )
  const { after } = found.page_info
  if (after) output.note(`more: --after ${after}`)
}

const NAME_WIDTH = 12
const HEAD = ['MESSAGE', 'CHANNEL', 'STEP', 'RECIPIENT', 'STATUS', 'MADE']

function row(message: WireMessage): string[] {
  const { id, channel, source, recipient, status, reason, inserted_at: at } = message
  const step = `${source.key}/${source.step_ref}`
  return [
    id,
    channel.key,
    step,
    showRecipient(recipient),
    reason ? `${status}: ${reason}` : status,
    at,
  ]
}

interface Shown {
  readonly message: WireMessage
  readonly content: { readonly data: Readonly<Record<string, unknown>> }
  readonly delivery_logs: readonly {
    readonly inserted_at: string
    readonly service_name: string
    readonly request: { readonly method: string; readonly host: string; readonly path: string }
    readonly response: { readonly status: number | null } | null
  }[]
}

async function show(client: Client, id: string, output: Output): Promise<void> {
  const path = `/v1/messages/${encodeURIComponent(id)}`
  const message = await client.call<WireMessage>('GET', path)
  const content = await client.call<Shown['content']>('GET', `${path}/content`)
  const shown: Shown = { message, content, delivery_logs: await loadDeliveries(client, path) }
  output.result(shown, () => messageLines(shown, output))
}

type Delivery = Shown['delivery_logs'][number]

/** All attempts, page by page. */
async function loadDeliveries(client: Client, path: string): Promise<readonly Delivery[]> {
  const found: Delivery[] = []
  let after: string | undefined
  do {
    const query = { after }
    const page = await client.call<WireList<Delivery>>('GET', `${path}/delivery_logs`, { query })
    found.push(...page.items)
    after = page.page_info.after ?? undefined
  } while (after !== undefined)
  return found
}

function messageLines({ message, content, delivery_logs: logs }: Shown, output: Output): string[] {
  const { channel, source, recipient, status, reason } = message
  return [
    `${output.style('bold', `${source.key}/${source.step_ref}`)} to ${printable(showRecipient(recipient))}`,
    `  status     ${reason ? `${status}: ${reason}` : status}`,
    `  channel    ${channel.key} (${channel.type})`,
    `  message    ${message.id}`,
    '',
    ...contentLines(content.data),
    ...(logs.length > 0 ? [''] : []),
    ...logs.map(({ inserted_at: at, service_name: service, request, response }) => {
      const answer = response ? `answered ${response.status ?? 'nothing'}` : 'no answer'
      return `${at}  ${service}  ${request.method} ${request.host}${request.path}  ${answer}`
    }),
  ]
}

/** The parts of a content that people read, each under its name; the rest is in the JSON. */
function contentLines(data: Readonly<Record<string, unknown>>): string[] {
  const parts = Object.entries(data).filter(
    ([name, value]) =>
      name !== '__typename' && name !== 'html_body' && value !== null && value !== '',
  )
  return parts.flatMap(([name, value]) => {
    const text = typeof value === 'string' ? value : JSON.stringify(value, undefined, 2)
    const lines = text.trimEnd().split('\n').map(printable)
    const [only] = lines
    if (lines.length === 1) return [`  ${name.padEnd(NAME_WIDTH)} ${only}`]
    return [`  ${name}`, ...lines.map((line) => `    ${line}`)]
  })
}
