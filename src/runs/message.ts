import { isProviderName, providers } from '../channels/index.ts'
import { newId, type MessageId } from '../ids.ts'
import type { NewMessage } from '../messages/store.ts'
import { stepTypeOf, type Step } from '../steps/index.ts'
import type { MessageContent, Outcome, RequestContent } from '../steps/step.ts'
import type { Channel } from '../workflow/environment.ts'
import { withUnsubscribe } from './commercial.ts'
import { type SecretPlaceholders } from './scope.ts'
import { tracked } from './tracking.ts'
import type { Walker } from './walker.ts'

interface Composed {
  readonly step: Step
  readonly channel: Channel
  readonly outcome: Outcome & { readonly kind: 'message' }
  readonly sandbox: boolean
  readonly content: MessageContent
  /** Of the step's messages, from 0. */
  readonly part: number
}

/** The message that a step has decided on, in the state in which it will be stored. */
export function composeMessage(walker: Walker, composed: Composed): NewMessage {
  const { chunk, run, shared } = walker
  const { step, channel, outcome, content, part } = composed
  const id = newId<MessageId>()
  const { environment, links } = chunk
  const origin = { links, environment, id }
  const { content: marked, shortLinks } = tracked(withUnsubscribe(walker, content), step, origin)
  return {
    environment,
    id,
    runId: run.id,
    workflowRunId: run.workflowRunId,
    workflow: run.workflow,
    versionId: run.versionId,
    stepRef: step.ref,
    part,
    channel: channel.key,
    channelType: stepTypeOf(step).channelType ?? channel.type,
    provider: channel.provider,
    recipient: { collection: run.collection, id: run.recipient },
    actor: shared.actor,
    tenant: shared.tenant,
    data: run.data,
    // As the scope puts it together.
    dataWhole: run.batchId !== null,
    content: noted(marked, walker.secrets),
    shortLinks,
    ...standing(walker, composed),
    scheduledAt: outcome.scheduledAt?.[part] ?? null,
    ...(outcome.expiresAt && { expiresAt: outcome.expiresAt }),
  }
}

/** What is stored is delivered when it is in Postgres, so it is judged now; all else is judged at its hand-over. */
function standing(
  { chunk, run }: Walker,
  { channel, sandbox }: Composed,
): Pick<NewMessage, 'status' | 'reason'> {
  if (sandbox) return { status: 'not_sent', reason: 'sandbox' }
  if (!isProviderName(channel.provider)) return { status: 'not_sent', reason: 'channel_missing' }
  if (providers[channel.provider].delivery === 'handed_over') return { status: 'queued' }
  if (chunk.switches.sending(run.workflow, channel.key).active) return { status: 'delivered' }
  return { status: 'not_sent', reason: 'workflow_inactive' }
}

function noted(content: MessageContent, secrets: SecretPlaceholders): MessageContent {
  return content.type === 'webhook' ? withSecrets(content, secrets) : content
}

/** Writes down which placeholders a request holds, so that the hand-over knows what to put in their place. */
export function withSecrets<Content extends RequestContent>(
  content: Content,
  secrets: SecretPlaceholders,
): Content {
  if (secrets.names.size === 0) return content
  const text = JSON.stringify(content)
  const used = [...secrets.names].filter(([placeholder]) => text.includes(placeholder))
  return { ...content, secrets: Object.fromEntries(used) }
}
