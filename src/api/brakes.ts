import { listBrakeEvents, type BrakeEvent } from '../reconcile/brake-store.ts'
import { pin, resume, suspend, unpin } from '../reconcile/brakes.ts'
import { retire, revive } from '../reconcile/retirement.ts'
import { Environment, loadEnvironment, toEnvironment } from './environments.ts'
import { wholePage } from './page.ts'
import { ok, type MutationRoute, type ReadRoute } from './route.ts'
import { entity, nullableText, nullableTime, oneOf, pageShape, text, time } from './shapes/shape.ts'

const brakeEvents = pageShape(
  'entries',
  entity('BrakeEvent', {
    id: text,
    kind: oneOf([
      'suspend',
      'resume',
      'retire',
      'revive',
      'pin',
      'unpin',
      'allow_prune',
      'allow_rewrite',
    ]),
    revision: nullableText,
    reason: nullableText,
    actor: text,
    expires_at: nullableTime,
    inserted_at: time,
  }),
)

const audit: ReadRoute = {
  id: 'environments.listBrakes',
  summary: 'Tells who used the brakes of an environment',
  replies: { 200: brakeEvents },
  kind: 'read',
  method: 'GET',
  path: '/v1/environments/:environment/brakes',
  scope: 'read',
  environment: 'path',
  async handle({ database, environment }) {
    await loadEnvironment(database, environment)
    const entries = (await listBrakeEvents(database, environment)).map(toEvent)
    return ok({ entries, page_info: wholePage(entries.length) })
  },
}

/** A reason is asked for: whoever finds the brake on will want to know. */
const reasonSchema = { type: 'string', pattern: '\\S', maxLength: 1_000 }
const whySchema = {
  type: 'object',
  required: ['reason'],
  properties: { reason: reasonSchema },
  additionalProperties: false,
}

const putSuspend: MutationRoute = {
  id: 'environments.suspend',
  summary: 'Suspends an environment: nothing is applied',
  replies: { 200: Environment },
  kind: 'mutation',
  method: 'PUT',
  path: '/v1/environments/:environment/suspend',
  scope: 'operate',
  environment: 'path',
  body: whySchema,
  async handle({ tx, environment, body, caller, now }) {
    const { reason } = body as { readonly reason: string }
    const view = await loadEnvironment(tx, environment)
    await suspend(tx, view, { environment, reason, actor: caller.name, now })
    return ok(await toEnvironment(tx, await loadEnvironment(tx, environment), now))
  },
}

const deleteSuspend: MutationRoute = {
  id: 'environments.resume',
  summary: 'Resumes an environment',
  replies: { 200: Environment },
  kind: 'mutation',
  method: 'DELETE',
  path: '/v1/environments/:environment/suspend',
  scope: 'operate',
  environment: 'path',
  async handle({ tx, environment, caller, now }) {
    const view = await loadEnvironment(tx, environment)
    await resume(tx, view, { environment, actor: caller.name, now })
    return ok(await toEnvironment(tx, await loadEnvironment(tx, environment), now))
  },
}

const putRetire: MutationRoute = {
  id: 'environments.retire',
  summary: 'Takes an environment that is no longer declared out of service',
  replies: { 200: Environment },
  kind: 'mutation',
  method: 'PUT',
  path: '/v1/environments/:environment/retire',
  scope: 'operate',
  environment: 'path',
  body: whySchema,
  async handle({ tx, environment, body, caller, now }) {
    const { reason } = body as { readonly reason: string }
    await loadEnvironment(tx, environment)
    await retire(tx, { environment, reason, actor: caller.name, now })
    return ok(await toEnvironment(tx, await loadEnvironment(tx, environment), now))
  },
}

const deleteRetire: MutationRoute = {
  id: 'environments.revive',
  summary: 'Takes back that an environment is retired',
  replies: { 200: Environment },
  kind: 'mutation',
  method: 'DELETE',
  path: '/v1/environments/:environment/retire',
  scope: 'operate',
  environment: 'path',
  async handle({ tx, environment, caller, now }) {
    await loadEnvironment(tx, environment)
    await revive(tx, { environment, actor: caller.name, now })
    return ok(await toEnvironment(tx, await loadEnvironment(tx, environment), now))
  },
}

interface PinBody {
  readonly revision: string
  readonly reason: string
  readonly expires_at?: string | null
}

const putPin: MutationRoute = {
  id: 'environments.pin',
  summary: 'Makes an applied revision live in the place of the tip',
  replies: { 200: Environment },
  kind: 'mutation',
  method: 'PUT',
  path: '/v1/environments/:environment/pin',
  scope: 'operate',
  environment: 'path',
  body: {
    type: 'object',
    required: ['revision', 'reason'],
    properties: {
      revision: { type: 'string', minLength: 1, maxLength: 100 },
      reason: reasonSchema,
      expires_at: { type: ['string', 'null'], format: 'date-time' },
    },
    additionalProperties: false,
  },
  async handle({ tx, environment, body, caller, now }) {
    const { revision: named, reason, expires_at: until } = body as PinBody
    const view = await loadEnvironment(tx, environment)
    const expiresAt = until ? new Date(until) : null
    await pin(tx, view, { environment, named, reason, expiresAt, actor: caller.name, now })
    return ok(await toEnvironment(tx, await loadEnvironment(tx, environment), now))
  },
}

const deletePin: MutationRoute = {
  id: 'environments.unpin',
  summary: 'Lets the tip be live again',
  replies: { 200: Environment },
  kind: 'mutation',
  method: 'DELETE',
  path: '/v1/environments/:environment/pin',
  scope: 'operate',
  environment: 'path',
  async handle({ tx, environment, caller, now }) {
    const view = await loadEnvironment(tx, environment)
    await unpin(tx, view, { environment, actor: caller.name, now })
    return ok(await toEnvironment(tx, await loadEnvironment(tx, environment), now))
  },
}

function toEvent({ id, kind, revision, reason, actor, expiresAt, insertedAt }: BrakeEvent) {
  return {
    __typename: 'BrakeEvent',
    id,
    kind,
    revision,
    reason,
    actor,
    expires_at: expiresAt,
    inserted_at: insertedAt,
  }
}

export const brakes = [
  audit,
  putSuspend,
  deleteSuspend,
  putRetire,
  deleteRetire,
  putPin,
  deletePin,
] as const
