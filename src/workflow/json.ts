import { messageOf } from '../errors.ts'

/** Why a text is no JSON, and at which offset that shows. */
export interface JsonProblem {
  readonly message: string
  readonly offset: number
}

/** What the engine's own parser says about `text`; undefined where it is JSON. */
export function checkJson(text: string): JsonProblem | undefined {
  const complaint = complaintOf(text)
  if (complaint === undefined) return undefined
  if (complaint.isCut) return { message: 'the JSON text ends too early', offset: text.length }
  // The engine leaves out the position in some of its messages. A text that is broken at one place
  // is broken there however it goes on, so the shortest broken start ends with that place.
  let whole = 0
  let broken = text.length
  while (broken - whole > 1) {
    const middle = (whole + broken) >> 1
    const found = complaintOf(text.slice(0, middle))
    if (found === undefined || found.isCut) whole = middle
    else broken = middle
  }
  const { message } = complaintOf(text.slice(0, broken)) ?? complaint
  return { message: `this is not JSON: ${plain(message)}`, offset: broken - 1 }
}

function complaintOf(text: string): { message: string; isCut: boolean } | undefined {
  try {
    JSON.parse(text)
    return undefined
  } catch (error) {
    const message = messageOf(error)
    const position = /at position (\d+)/.exec(message)?.[1]
    const isAtEnd = position !== undefined && Number(position) >= text.length
    return { message, isCut: isAtEnd || /end of JSON input|Unterminated string/.test(message) }
  }
}

/** The message without its own account of the place, which is given beside it. */
function plain(message: string): string {
  const token = /^Unexpected token '(.+?)', /s.exec(message)?.[1]
  if (token !== undefined) return `${JSON.stringify(token)} is not expected here`
  const text = message.replace(/ in JSON at position.*$/s, '').replace(/ at position.*$/s, '')
  return `${text.charAt(0).toLowerCase()}${text.slice(1)}`
}
