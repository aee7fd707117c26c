import { listRevisions, type RevisionView } from '../reconcile/history-store.ts'
import { loadEnvironment } from './environments.ts'
import { cutPage, pageQuery, plainCursors, readPage } from './page.ts'
import { ok, type ReadRoute } from './route.ts'
import {
  count,
  entity,
  listOf,
  nullableText,
  oneOf,
  pageShape,
  text,
  time,
} from './shapes/shape.ts'

/** Sequences are whole numbers that Postgres keeps in eight bytes. */
const cursors = plainCursors((cursor) => /^\d{1,18}$/.test(cursor))

const AppliedRevision = entity('AppliedRevision', {
  sequence: count,
  revision: text,
  origin: oneOf(['git', 'pin', null]),
  applied_at: time,
  added: listOf(text),
  changed: listOf(text),
  archived: listOf(text),
  rewritten_from: nullableText,
  signer: nullableText,
})

const list: ReadRoute = {
  id: 'environments.listRevisions',
  summary: 'Lists what was applied to an environment',
  replies: { 200: pageShape('items', AppliedRevision) },
  kind: 'read',
  method: 'GET',
  path: '/v1/environments/:environment/revisions',
  scope: 'read',
  environment: 'path',
  query: { type: 'object', properties: pageQuery },
  async handle({ database, environment, query }) {
    await loadEnvironment(database, environment)
    const page = readPage(query, cursors)
    const { after, before } = page
    const found = await listRevisions(database, environment, {
      ...(after !== undefined && { after }),
      ...(before !== undefined && { before }),
      limit: page.size + 1,
    })
    const { rows, info } = cutPage(found, page)
    return ok({ items: rows.map(toRevision), page_info: info })
  },
}

function toRevision({ id, revision, origin, signer, ...view }: RevisionView) {
  return {
    __typename: 'AppliedRevision',
    sequence: Number(id),
    revision,
    origin,
    applied_at: view.appliedAt,
    added: view.added,
    changed: view.changed,
    archived: view.archived,
    rewritten_from: view.rewrittenFrom,
    signer,
  }
}

export const revisions = [list] as const
