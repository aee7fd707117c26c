import type { EnvironmentName, MessageId } from '../ids.ts'
import { replaceLinks, withPixel } from '../language/html-links.ts'
import { sealLink, type Links } from '../messages/links.ts'
import type { Step } from '../steps/index.ts'
import type { MessageContent } from '../steps/step.ts'

/** A target with a longer token is left as it is: some mail programs cut longer addresses off. */
const TOKEN_LENGTH_MAX = 1_500

/**
 * A mail with what tells that it was opened and its links were followed, where its step asks for that and we
 * can be reached. Links to unsubscribe are nobody's to count, and the text beside the HTML stays as it is.
 */
export function tracked(
  content: MessageContent,
  step: Step,
  of: {
    readonly links: Links | null
    readonly environment: EnvironmentName
    readonly id: MessageId
  },
): MessageContent {
  const { links, environment, id } = of
  const asked = step.type === 'email' ? step.tracking : undefined
  if (content.type !== 'email' || asked === undefined || links === null) return content
  const { publicUrl, key } = links
  const toUs = `${publicUrl}/unsubscribe/`
  const follow = (url: string): string | undefined => {
    if (url.startsWith(toUs)) return undefined
    const token = sealLink(key, 'click', [environment, id, url])
    return token.length > TOKEN_LENGTH_MAX ? undefined : `${publicUrl}/l/${token}`
  }
  const html = asked.links === true ? replaceLinks(content.html, follow) : content.html
  if (asked.opens !== true) return { ...content, html }
  const pixel = `${publicUrl}/o/${sealLink(key, 'open', [environment, id])}`
  return { ...content, html: withPixel(html, pixel) }
}
