import { sealLink } from '../messages/links.ts'
import type { EmailContent, MessageContent, Scope } from '../steps/step.ts'
import { UNSUBSCRIBE_VARIABLE } from '../workflow/check.ts'
import type { Walker } from './walker.ts'

/** A longer header cannot be folded; whoever gets such a mail has the link in it only. */
const HEADER_URL_LENGTH_MAX = 800

/** What `vars` shows beside the variables of the environment. */
export function linkVars(walker: Walker): Scope['vars'] {
  const url = unsubscribeUrl(walker)
  return url === undefined ? {} : { [UNSUBSCRIBE_VARIABLE]: url }
}

/**
 * A mail with what lets mail programs unsubscribe its reader with one click (RFC 8058), where its workflow is
 * commercial. That needs HTTPS, and a step may say it in its own way.
 */
export function withUnsubscribe(walker: Walker, content: MessageContent): MessageContent {
  if (content.type !== 'email' || says(content)) return content
  const url = unsubscribeUrl(walker)
  if (url === undefined || !url.startsWith('https:') || url.length > HEADER_URL_LENGTH_MAX) {
    return content
  }
  const headers = {
    ...content.headers,
    'List-Unsubscribe': `<${url}>`,
    'List-Unsubscribe-Post': 'List-Unsubscribe=One-Click',
  }
  return { ...content, headers }
}

function says({ headers }: EmailContent): boolean {
  return Object.keys(headers).some((name) => name.toLowerCase() === 'list-unsubscribe')
}

/** Undefined where the workflow is not commercial, or sends whatever people say, or nobody could reach us. */
function unsubscribeUrl({ chunk, run, version }: Walker): string | undefined {
  const { links, environment } = chunk
  const { commercial, override_preferences: overrides } = version.workflow
  if (links === null || commercial !== true || overrides === true) return undefined
  const token = sealLink(links.key, 'unsubscribe', [environment, run.collection, run.recipient])
  return `${links.publicUrl}/unsubscribe/${token}`
}
