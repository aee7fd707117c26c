import { listBrakeEvents, type BrakeEvent } from '../reconcile/brake-store.ts'
import { loadEnvironment } from './environments.ts'
import { wholePage } from './page.ts'
import { ok, type ReadRoute } from './route.ts'

const audit: ReadRoute = {
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

export const brakes = [audit] as const
