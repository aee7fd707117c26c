import { RequestError } from '../errors.ts'
import { DEFAULT_SET, effectivePreferences } from '../language/preferences.ts'
import {
  preferenceRequest,
  readPreferences,
  withoutStrategies,
} from '../recipients/preference-input.ts'
import { deletePreferences, listPreferences } from '../recipients/preference-store.ts'
import {
  checkCollection,
  checkRecipientId,
  USERS,
  type RecipientRef,
} from '../recipients/recipient.ts'
import { findRecipient, upsertRecipients } from '../recipients/store.ts'
import { loadCounting, preferencesToWire } from './preference-counting.ts'
import { ExplainedPreferences, explainPreferences, explainQuery } from './preference-explain.ts'
import { resourceMissing } from './reference.ts'
import {
  ANSWERS_NOTHING,
  type MutationRoute,
  NO_CONTENT,
  ok,
  type ReadRoute,
  type Route,
} from './route.ts'
import { PreferenceSet } from './shapes/recipients.ts'
import { listOf } from './shapes/shape.ts'

interface Resource {
  /** What one is called, as in `there is no user "ann"`. */
  readonly what: string
  /** The same with its article, and the first part of the names of its calls. */
  readonly one: string
  readonly tag: string
  /** The path of one of them. */
  readonly path: string
  readonly refOf: (params: Readonly<Record<string, string>>) => RecipientRef
}

interface SetQuery {
  readonly tenant?: string
  readonly explain?: boolean
}

function listRoute({ what, one, tag, path, refOf }: Resource): ReadRoute {
  return {
    id: `${tag}.listPreferences`,
    summary: `Lists the preference sets of ${one}`,
    replies: { 200: listOf(PreferenceSet) },
    kind: 'read',
    method: 'GET',
    path: `${path}/preferences`,
    scope: 'read',
    environment: 'key',
    async handle({ database, environment, params }) {
      const ref = refOf(params)
      const sets = await listPreferences(database, environment, ref)
      if (sets.length === 0 && !(await findRecipient(database, environment, ref)))
        throw resourceMissing(what, ref.id)
      return ok(sets.map(({ set, settings }) => preferencesToWire(set, settings)))
    },
  }
}

function findRoute({ what, one, tag, path, refOf }: Resource): ReadRoute {
  return {
    id: `${tag}.getPreferences`,
    summary: `Shows what ${one} wants to get`,
    replies: { 200: ExplainedPreferences },
    kind: 'read',
    method: 'GET',
    path: `${path}/preferences/:set`,
    scope: 'read',
    environment: 'key',
    query: {
      type: 'object',
      properties: {
        tenant: { type: 'string', description: 'The tenant that it is asked for.' },
        ...explainQuery,
      },
    },
    async handle(request) {
      const { database, environment, params, query } = request
      const ref = refOf(params)
      const set = setOf(params)
      const { tenant: named, explain }: SetQuery = query
      const tenant = named === undefined ? tenantOf(set) : checkRecipientId(named, '?/tenant')
      const recipient = await findRecipient(database, environment, ref)
      if (!recipient) throw resourceMissing(what, ref.id)
      const counting = await loadCounting(database, environment, ref, tenant)
      const shown = preferencesToWire(set, effectivePreferences(counting.layers).settings)
      if (explain !== true) return ok(shown)
      const explained = await explainPreferences(request, { recipient, counting })
      return ok({ ...shown, explain: explained })
    },
  }
}

function putRoute({ one, tag, path, refOf }: Resource): MutationRoute {
  return {
    id: `${tag}.setPreferences`,
    summary: `Says what ${one} wants to get`,
    replies: { 200: PreferenceSet },
    kind: 'mutation',
    method: 'PUT',
    path: `${path}/preferences/:set`,
    scope: 'write',
    environment: 'key',
    body: preferenceRequest,
    async handle({ tx, environment, params, body, now }) {
      const ref = refOf(params)
      const set = setOf(params)
      const { settings, mode = 'replace' } = readBody(body, '')
      const write = { set, settings: withoutStrategies(settings), mode }
      await upsertRecipients(
        tx,
        environment,
        [{ ...ref, properties: {}, preferences: [write] }],
        now,
      )
      const { layers } = await loadCounting(tx, environment, ref, tenantOf(set))
      return ok(preferencesToWire(set, effectivePreferences(layers).settings))
    },
  }
}

function removeRoute({ one, tag, path, refOf }: Resource): MutationRoute {
  return {
    id: `${tag}.unsetPreferences`,
    summary: `Deletes a preference set of ${one}`,
    replies: ANSWERS_NOTHING,
    kind: 'mutation',
    method: 'DELETE',
    path: `${path}/preferences/:set`,
    scope: 'write',
    environment: 'key',
    async handle({ tx, environment, params }) {
      await deletePreferences(tx, environment, refOf(params), setOf(params))
      return NO_CONTENT
    },
  }
}

/** A set of a body. Throws a 422 `RequestError` that points at each problem. */
export function readBody(value: unknown, pointer: string) {
  const read = readPreferences(value, pointer)
  if (read.kind === 'patch') return read.patch
  const [first] = read.violations
  const message = `${first?.field || 'the body'} ${first?.message}`
  throw new RequestError(422, 'invalid_params', message, read.violations)
}

function setOf(params: Readonly<Record<string, string>>): string {
  return checkRecipientId(params['set'], 'path')
}

/** The tenant that a set is for. */
function tenantOf(set: string): string | null {
  return set === DEFAULT_SET ? null : set
}

function routesOf(resource: Resource): readonly Route[] {
  return [listRoute, findRoute, putRoute, removeRoute].map((make) => make(resource))
}

export const preferences: readonly Route[] = [
  ...routesOf({
    what: 'user',
    one: 'a user',
    tag: 'users',
    path: '/v1/users/:id',
    refOf: ({ id }) => ({ collection: USERS, id: checkRecipientId(id, 'path') }),
  }),
  ...routesOf({
    what: 'object',
    one: 'an object',
    tag: 'objects',
    path: '/v1/objects/:collection/:id',
    refOf: ({ collection, id }) => ({
      collection: checkCollection(collection, 'path'),
      id: checkRecipientId(id, 'path'),
    }),
  }),
]
