import { replaceLinks, withPixel } from '../language/html-links.ts'
import { replaceTextLinks } from '../language/text-links.ts'
import type { EnvironmentName, MessageId } from '../ids.ts'
import { sealLink, type Links } from '../messages/links.ts'
import { newShortCode, type ShortLink } from '../messages/short-links.ts'
import type { Step } from '../steps/index.ts'
import type { EmailContent, MessageContent, SmsContent } from '../steps/step.ts'

/** A target with a longer token is left as it is: some mail programs cut longer addresses off. */
const TOKEN_LENGTH_MAX = 1_500

interface Tracked {
  readonly content: MessageContent
  /** What is to be stored with the message, for its links to lead anywhere. */
  readonly shortLinks: readonly ShortLink[]
}

interface Origin {
  readonly links: Links
  readonly environment: EnvironmentName
  readonly id: MessageId
}

/**
 * A message with what tells that its links were followed, and of a mail that it was opened, where its step asks for
 * that and we can be reached. Links to unsubscribe are nobody's to count.
 */
export function tracked(
  content: MessageContent,
  step: Step,
  of: Omit<Origin, 'links'> & { readonly links: Links | null },
): Tracked {
  const { links } = of
  if (links === null) return { content, shortLinks: [] }
  if (content.type === 'sms' && step.type === 'sms' && step.tracking?.links === true) {
    return trackedSms(content, { ...of, links })
  }
  if (content.type !== 'email' || step.type !== 'email') return { content, shortLinks: [] }
  return { content: trackedMail(content, step.tracking ?? {}, { ...of, links }), shortLinks: [] }
}

/** The text beside the HTML stays as it is. */
function trackedMail(
  content: EmailContent,
  asked: { readonly opens?: boolean; readonly links?: boolean },
  { links: { publicUrl, key }, environment, id }: Origin,
): EmailContent {
  const follow = (url: string): string | undefined => {
    if (isOurs(url, publicUrl)) return undefined
    const token = sealLink(key, 'click', [environment, id, url])
    return token.length > TOKEN_LENGTH_MAX ? undefined : `${publicUrl}/l/${token}`
  }
  const html = asked.links === true ? replaceLinks(content.html, follow) : content.html
  if (asked.opens !== true) return { ...content, html }
  const pixel = `${publicUrl}/o/${sealLink(key, 'open', [environment, id])}`
  return { ...content, html: withPixel(html, pixel) }
}

function trackedSms(
  content: SmsContent,
  { links: { publicUrl, key }, environment, id }: Origin,
): Tracked {
  const codes = new Map<string, string>()
  const body = replaceTextLinks(content.body, (url) => {
    if (isOurs(url, publicUrl)) return undefined
    const code = codes.get(url) ?? newShortCode(key)
    codes.set(url, code)
    return `${publicUrl}/s/${code}`
  })
  const shortLinks = [...codes].map(([url, code]) => ({ environment, code, message: id, url }))
  return { content: { ...content, body }, shortLinks }
}

function isOurs(url: string, publicUrl: string): boolean {
  return url.startsWith(`${publicUrl}/unsubscribe/`)
}
