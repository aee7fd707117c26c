import { listDriftEvents, type DriftEvent } from '../reconcile/drift-store.ts'
import { Drift, driftFields, loadEnvironment, toDrift } from './environments.ts'
import { wholePage } from './page.ts'
import { ok, type ReadRoute } from './route.ts'
import { entity, listOf, nullableText, orNull, PageInfo, text, time } from './shapes/shape.ts'

const EnvironmentDrift = entity('EnvironmentDrift', {
  environment: text,
  drift: orNull(Drift),
  items: listOf(
    entity('DriftEvent', {
      id: text,
      revision: nullableText,
      ...driftFields,
      inserted_at: time,
    }),
  ),
  page_info: PageInfo,
})

const audit: ReadRoute = {
  id: 'environments.listDrift',
  summary: 'Tells what something else has changed of what was applied',
  replies: { 200: EnvironmentDrift },
  kind: 'read',
  method: 'GET',
  path: '/v1/environments/:environment/drift',
  scope: 'read',
  environment: 'path',
  async handle({ database, environment, now }) {
    const { drift: newest } = await loadEnvironment(database, environment)
    const events = await listDriftEvents(database, environment)
    return ok({
      __typename: 'EnvironmentDrift',
      environment,
      drift: toDrift(newest, now),
      items: events.map(toEvent),
      page_info: wholePage(events.length),
    })
  },
}

function toEvent({ id, revision, outcome, count, found, insertedAt }: DriftEvent) {
  return {
    __typename: 'DriftEvent',
    id,
    revision,
    outcome,
    count,
    found,
    inserted_at: insertedAt,
  }
}

export const drift = [audit] as const
