import type { SwitchEvent } from '../messages/switches.ts'
import { invalid } from '../recipients/recipient.ts'
import { entity, flag, nullableText, nullableTime, text, time } from './shapes/shape.ts'

const REASON_LENGTH_MAX = 1_000

/** What turns a switch. */
export interface SwitchBody {
  /** False: nothing is sent. */
  readonly status: boolean
  readonly reason?: string | null
  readonly expires_at?: string | null
  readonly channel?: string | null
}

/** JSON Schema of a switch's body; `more` are properties beyond the common ones. */
export function switchSchema(more: Readonly<Record<string, object>>): object {
  return {
    type: 'object',
    required: ['status'],
    properties: {
      status: { ...flag, description: 'False: nothing is sent.' },
      reason: { type: ['string', 'null'], maxLength: REASON_LENGTH_MAX },
      expires_at: { ...nullableTime, description: 'When it turns on again by itself.' },
      ...more,
    },
    additionalProperties: false,
  }
}

/** The parts of a change that the body says; throws a 422 for an end that ends nothing. */
export function readSwitch({ status, reason, expires_at: end }: SwitchBody, now: Date) {
  const expiresAt = end ? new Date(end) : null
  if (expiresAt && status) throw invalid('/expires_at', 'is only for switching off')
  if (expiresAt && expiresAt <= now) throw invalid('/expires_at', 'is in the past')
  return { active: status, reason: reason ?? null, expiresAt }
}

export const Activation = entity('WorkflowActivation', {
  id: text,
  status: flag,
  channel: nullableText,
  reason: nullableText,
  actor: text,
  expires_at: nullableTime,
  inserted_at: time,
})

/** An entry of the audit as replies show it. */
export function toActivation({
  id,
  channel,
  active,
  reason,
  actor,
  expiresAt,
  insertedAt,
}: SwitchEvent) {
  return {
    __typename: 'WorkflowActivation',
    id,
    status: active,
    channel: channel === '' ? null : channel,
    reason,
    actor,
    expires_at: expiresAt,
    inserted_at: insertedAt,
  }
}
