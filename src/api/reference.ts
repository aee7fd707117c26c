import { RequestError } from '../errors.ts'

/** A user, object or tenant by name; users are in the collection `$users`. */
export interface Reference {
  readonly collection: string
  readonly id: string
}

/** A reference on the wire: the id of a user, else a collection and an id. */
export type WireReference = string | { readonly id: string; readonly collection: string }

/** JSON Schema of a reference in a body or a query. */
export const referenceSchema = {
  description: 'The id of a user, or a collection and an id.',
  type: ['string', 'object'],
  minLength: 1,
  maxLength: 256,
  required: ['id'],
  properties: {
    id: { type: 'string', minLength: 1, maxLength: 256 },
    collection: { type: 'string', minLength: 1, maxLength: 256 },
  },
} as const

/** A reference as the wire writes it; `schema`-checked before. */
export function readReference(reference: WireReference): Reference {
  if (typeof reference === 'string') return { collection: '$users', id: reference }
  const { id, collection = '$users' } = reference as { id: string; collection?: string }
  return { collection, id }
}

export function toWireReference({ collection, id }: Reference): WireReference {
  return collection === '$users' ? id : { id, collection }
}

/** A 404 for something that has an id and is not there. */
export function resourceMissing(what: string, id: string): RequestError {
  return new RequestError(404, 'resource_missing', `there is no ${what} "${id}"`)
}
