import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { RequestError } from '../errors.ts'
import { problemReply } from './problem.ts'

/** Answers, in the form of every refusal, what could not be read as a request, and hangs up. */
export function refuseUnread(error: Error, socket: Duplex): void {
  // Nobody is there any more, or has been answered already.
  if (!socket.writable || ('code' in error && error.code === 'ECONNRESET')) {
    socket.destroy()
    return
  }
  const { status, body } = problemReply(refusalOf(error))
  const text = JSON.stringify(body)
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(text)}`,
    'connection: close',
  ]
  socket.end(`${head.join('\r\n')}\r\n\r\n${text}`)
}

function refusalOf(error: Error): RequestError {
  const code = 'code' in error ? error.code : undefined
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return new RequestError(431, 'headers_too_large', 'the URL and the headers are too large')
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new RequestError(408, 'request_too_slow', 'the request did not arrive in time')
    default:
      return new RequestError(400, 'invalid_request', 'this is not a request of HTTP')
  }
}
