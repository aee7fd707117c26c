import type { RequestError } from '../errors.ts'
import type { Reply } from './route.ts'

/** A 404 for a path that has no route, in the contract's own form. */
export const UNROUTED: Reply = { status: 404, body: { errors: { detail: '404 Not Found' } } }

const TYPES: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  403: 'authorization_error',
  409: 'conflict_error',
  429: 'rate_limit_error',
}

/** What a caller is told of a refusal: `{code, message, status, type}`, and `errors` where there are more. */
export function problemReply(error: RequestError): Reply {
  const { code, message, status, errors } = error
  const type = TYPES[status] ?? (status >= 500 ? 'api_error' : 'invalid_request_error')
  const body = { code, message: message.toWellFormed(), status, type }
  return { status, body: errors ? { ...body, errors } : body }
}

/** What a caller is told of a failure of ours: nothing of its inside, only the request to ask about. */
export function failureReply(requestId: string): Reply {
  const message = `something failed on our side; the server's log has it under request ${requestId}`
  return { status: 500, body: { code: 'internal_error', message, status: 500, type: 'api_error' } }
}
