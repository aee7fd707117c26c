import { randomBytes } from 'node:crypto'
import type { RefStatus } from '../messages/store.ts'
import {
  toScope,
  type Recipient,
  recipientKey,
  type RecipientRef,
} from '../recipients/recipient.ts'
import { AUDIENCES } from '../language/conditions.ts'
import { stepTypeOf } from '../steps/index.ts'
import type { Scope, StepBase } from '../steps/step.ts'
import type { EnvironmentSettings } from '../workflow/environment.ts'
import { workflowScope, type Workflow } from '../workflow/workflow.ts'
import { linkVars } from './commercial.ts'
import { audiencesOf } from './memberships.ts'
import type { QueuedRun, WorkflowRun } from './run.ts'
import type { Walker } from './walker.ts'

/**
 * What secret variables look like until a message is handed over: words that nobody can guess, so that
 * no text from outside can ask for a secret, and that pass through every kind of escaping unchanged.
 */
export interface SecretPlaceholders {
  /** `vars` of a scope, without secret variables. */
  readonly open: Readonly<Record<string, unknown>>
  /** `vars` where secrets may stand, with a placeholder for each. */
  readonly all: Readonly<Record<string, unknown>>
  /** Placeholder → name of the secret variable. */
  readonly names: ReadonlyMap<string, string>
}

const PLACEHOLDER_BYTES = 12

/** Makes the variables of one piece of work; placeholders differ from one to the next. */
export function secretPlaceholders(settings: EnvironmentSettings): SecretPlaceholders {
  const open: Record<string, unknown> = {}
  const placeholders: Record<string, string> = {}
  const names = new Map<string, string>()
  const nonce = randomBytes(PLACEHOLDER_BYTES).toString('hex')
  for (const [name, variable] of Object.entries(settings.variables)) {
    if ('value' in variable) {
      open[name] = variable.value
      continue
    }
    const placeholder = `secret${nonce}x${names.size}x`
    names.set(placeholder, name)
    placeholders[name] = placeholder
  }
  return { open, all: { ...open, ...placeholders }, names }
}

/** What the conditions and templates of a run can name. */
export function scopeOf(walker: Walker): Scope {
  const { chunk, run, shared, batch, version, secrets, refs } = walker
  const { workflow } = version
  const entityOf = (ref: RecipientRef) => {
    const key = recipientKey(ref)
    return chunk.entities.get(key) ?? batch?.entities.get(key)
  }
  const recipient = {
    ...show(entityOf({ collection: run.collection, id: run.recipient })),
    ...(run.subscription && {
      subscription: {
        ...run.subscription.properties,
        object: show(entityOf(run.subscription.object)),
      },
    }),
    ...(shared.schedule && { schedule: shared.schedule }),
  }
  const actor = show(shared.actor && entityOf(shared.actor))
  const tenant = shared.tenant === null ? null : { collection: '$tenants', id: shared.tenant }
  const data = dataOf(shared, run)
  const held = batch ?? {
    activities: [{ actor: shared.actor, data, at: chunk.now }],
    actors: shared.actor && actor ? [shared.actor] : [],
    totalActivities: 1,
    totalActors: actor ? 1 : 0,
  }
  const { totalActivities: total_activities, totalActors: total_actors } = held
  return {
    recipient,
    actor,
    tenant: show(tenant && entityOf(tenant)),
    data,
    vars: { ...secrets.open, ...linkVars(walker) },
    workflow: {
      ...workflowScope(run.workflow, workflow),
      cancellation_key: shared.cancellationKey,
    },
    run: { id: run.id, total_activities, total_actors },
    refs,
    event: walker.event,
    activities: held.activities.map((one) => ({
      ...one.data,
      data: one.data,
      actor: show(one.actor && entityOf(one.actor)),
      recipient,
      inserted_at: one.at.toISOString(),
    })),
    actors: held.actors.flatMap((ref) => {
      const entity = entityOf(ref)
      return entity ? [toScope(entity)] : []
    }),
    total_activities,
    total_actors,
    [AUDIENCES]: audiencesOf(
      chunk.memberships,
      { collection: run.collection, id: run.recipient },
      shared.tenant,
    ),
  }
}

/**
 * The trigger's data, with what the trigger or an earlier step said for this recipient laid over it. Behind a
 * batch, what that made of all its activities.
 */
export function dataOf(shared: WorkflowRun, run: QueuedRun): Scope['data'] {
  if (run.batchId !== null) return run.data ?? {}
  return run.data ? { ...shared.data, ...run.data } : shared.data
}

function show(entity: Recipient | null | undefined): Readonly<Record<string, unknown>> | null {
  return entity ? toScope(entity) : null
}

/** How the messages of a run fare, by the step that made them. */
export type Refs = Record<string, Readonly<Record<string, unknown>>>

/** A channel step without a message was skipped; of one that was not reached yet the same is said. */
export function refsOf(workflow: Workflow, statuses: readonly RefStatus[]): Refs {
  const refs: Refs = {}
  for (const ref of channelRefs(workflow.steps))
    refs[ref] = { delivery_status: 'skipped', engagement_status: [] }
  for (const { stepRef, status, engagement } of statuses)
    refs[stepRef] = { delivery_status: status, engagement_status: engagement }
  return refs
}

function channelRefs(steps: readonly StepBase[]): readonly string[] {
  return steps.flatMap((step) => {
    const type = stepTypeOf(step)
    const nested = type.children?.(step).flatMap((child) => channelRefs(child.steps)) ?? []
    return type.channelType === undefined ? nested : [step.ref, ...nested]
  })
}
