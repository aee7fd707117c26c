import { RequestError, type Violation } from '../errors.ts'
import { parseTimestamp } from '../language/timestamps.ts'
import type { Properties } from './merge.ts'
import { USERS } from './recipient.ts'

/** Properties of a user that the contract types; all others may be anything. */
const USER_TEXTS = ['name', 'email', 'avatar', 'phone_number', 'timezone', 'locale']
/** What the contract lets a recipient bring and nothing here keeps; null brings nothing. */
const NOT_SUPPORTED = ['preferences', 'channel_data']

/**
 * What is wrong with the fields of a recipient, wherever they come from: a call of its own, or inline in a
 * trigger. `pointer` is the JSON Pointer to the recipient in the request.
 */
export function fieldProblems(
  collection: string,
  fields: Properties,
  pointer: string,
): readonly Violation[] {
  const problems = new Map<string, string>()
  for (const name of NOT_SUPPORTED)
    if (fields[name] != null) problems.set(name, 'is not supported: it would not be kept')
  if (collection === USERS) {
    for (const name of USER_TEXTS)
      if (fields[name] != null && typeof fields[name] !== 'string')
        problems.set(name, 'must be a text or null')
    const { created_at: at } = fields
    if (at != null && parseTimestamp(at) === undefined)
      problems.set('created_at', 'must be an ISO 8601 time or null')
  }
  return [...problems].map(([name, message]) => ({ field: `${pointer}/${name}`, message }))
}

/** Throws a 422 `RequestError` with each of `fieldProblems` of a body that is a recipient. */
export function checkFields(collection: string, fields: Properties): void {
  const problems = fieldProblems(collection, fields, '')
  const [first] = problems
  if (!first) return
  throw new RequestError(422, 'invalid_params', `${first.field} ${first.message}`, problems)
}
