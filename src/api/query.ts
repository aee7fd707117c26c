import qs from 'qs'
import { RequestError } from '../errors.ts'
import { refuseBadText } from './text.ts'

/** Of values in one bracketed list. Above its limit `qs` would make an object of a list, so that is refused. */
const LIST_LENGTH_MAX = 1_000
const DEPTH_MAX = 5
const PARAMETERS_MAX = 5_000

/**
 * Parses a query string as the SDKs write it: `ids[]=a&ids[]=b`, `recipients[0][id]=x`.
 * Throws a `RequestError`: 400 for malformed percent-encoding, 422 for too many values or text that cannot be stored.
 */
export function parseQuery(querystring: string): Readonly<Record<string, unknown>> {
  if (querystring === '') return {}
  const query = parse(querystring)
  refuseBadText('?', query)
  return query
}

function parse(querystring: string): Record<string, unknown> {
  try {
    return qs.parse(querystring, {
      arrayLimit: LIST_LENGTH_MAX,
      depth: DEPTH_MAX,
      strictDepth: true,
      parameterLimit: PARAMETERS_MAX,
      throwOnLimitExceeded: true,
      decoder: (text) => decodeText(text.replaceAll('+', ' '), 'query'),
    })
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw new RequestError(422, 'invalid_params', `the query has too much in it: ${error.message}`)
  }
}

/** Percent-decodes a part of a URL; a 400 where that cannot be done. */
export function decodeText(text: string, where: 'path' | 'query'): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new RequestError(400, 'invalid_url', `the ${where} is not valid percent-encoded UTF-8`)
  }
}
