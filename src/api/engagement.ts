import type { Transaction } from '../db/database.ts'
import type { EnvironmentName } from '../ids.ts'
import { markMessages } from '../messages/engagement-store.ts'
import { MARKS, type Mark } from '../messages/engagement.ts'
import { findMessage, listMessages } from '../messages/log-store.ts'
import { reachOf } from './client-access.ts'
import { messagesToWire } from './message-batches.ts'
import { MESSAGE_IDS_MAX } from './message-filter.ts'
import { resourceMissing } from './reference.ts'
import { ok, type MutationRequest, type MutationRoute } from './route.ts'
import { Message } from './shapes/messages.ts'
import { listOf } from './shapes/shape.ts'

const METADATA_PAIRS_MAX = 5
const METADATA_TEXT_MAX = 1_000

/** What an application says about an interaction; its event shows it. */
const metadata = {
  type: ['object', 'null'],
  maxProperties: METADATA_PAIRS_MAX,
  propertyNames: { maxLength: METADATA_TEXT_MAX },
  additionalProperties: {
    type: ['string', 'number', 'boolean', 'null'],
    maxLength: METADATA_TEXT_MAX,
  },
} as const

interface MarkBody {
  readonly metadata?: Readonly<Record<string, unknown>> | null
}

/** What the SDKs call a mark. */
const VERBS: Readonly<Record<Mark, string>> = {
  seen: 'markAsSeen',
  unseen: 'markAsUnseen',
  read: 'markAsRead',
  unread: 'markAsUnread',
  interacted: 'markAsInteracted',
  archived: 'archive',
  unarchived: 'unarchive',
}

function markOne(
  method: 'PUT' | 'DELETE',
  name: string,
  mark: Mark,
  verb = VERBS[mark],
): MutationRoute {
  return {
    id: `messages.${verb}`,
    summary: `Marks a message as ${mark}`,
    replies: { 200: Message },
    kind: 'mutation',
    method,
    path: `/v1/messages/:id/${name}`,
    scope: 'write',
    environment: 'key',
    body: { type: 'object', properties: { metadata } },
    isBodyOptional: true,
    async handle(request) {
      const { tx, environment, params } = request
      const id = params['id'] ?? ''
      const reach = reachOf(request.caller)
      const target = { environment, ids: [id], reach }
      const marked = await markMessages(tx, target, mark, optionsOf(request, mark))
      const row = marked.length > 0 ? await findMessage(tx, environment, id) : undefined
      if (!row) throw resourceMissing('message', id)
      const [message] = await messagesToWire(tx, environment, [row])
      return ok(message)
    },
  }
}

function markBatch(mark: Mark): MutationRoute {
  return {
    id: `messages.batch.${VERBS[mark]}`,
    summary: `Marks messages as ${mark}`,
    replies: { 200: listOf(Message) },
    kind: 'mutation',
    method: 'POST',
    path: `/v1/messages/batch/${mark}`,
    scope: 'write',
    environment: 'key',
    body: {
      type: 'object',
      required: ['message_ids'],
      properties: {
        message_ids: { type: 'array', items: { type: 'string' }, maxItems: MESSAGE_IDS_MAX },
        metadata,
      },
    },
    async handle(request) {
      const { tx, environment, body, caller } = request
      const { message_ids: ids } = body as { readonly message_ids: readonly string[] }
      const options = optionsOf(request, mark)
      const target = { environment, ids, reach: reachOf(caller) }
      const marked = await markMessages(tx, target, mark, options)
      return ok(await showMessages(tx, environment, marked))
    },
  }
}

function optionsOf({ now, body }: MutationRequest, mark: Mark) {
  const said = (body as MarkBody | undefined)?.metadata ?? null
  return { now, data: mark === 'interacted' && said ? { metadata: said } : null }
}

/** These messages as they are now, newest first. */
async function showMessages(
  tx: Transaction,
  environment: EnvironmentName,
  ids: Awaited<ReturnType<typeof markMessages>>,
): Promise<readonly object[]> {
  const { rows } = await listMessages(tx, environment, { ids }, { size: MESSAGE_IDS_MAX })
  return await messagesToWire(tx, environment, rows)
}

export const engagement: readonly MutationRoute[] = [
  markOne('PUT', 'seen', 'seen'),
  markOne('DELETE', 'seen', 'unseen'),
  markOne('PUT', 'read', 'read'),
  markOne('DELETE', 'read', 'unread'),
  markOne('PUT', 'interacted', 'interacted'),
  markOne('PUT', 'archived', 'archived'),
  markOne('DELETE', 'archived', 'unarchived'),
  // The contract has these beside, and no SDK calls them.
  markOne('DELETE', 'unseen', 'unseen', 'unseen'),
  markOne('DELETE', 'unread', 'unread', 'unread'),
  markOne('DELETE', 'unarchived', 'unarchived', 'unarchived'),
  ...MARKS.map(markBatch),
]
