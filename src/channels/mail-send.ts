import type { EmailContent } from '../steps/step.ts'
import { parseMailbox } from './address.ts'
import { brokenChannel, refused } from './api.ts'
import { checkMail } from './mail.ts'
import type { MailParts } from './mail.ts'
import type { Answer, HandOver, SendContext } from './provider.ts'

/** Checks the mail and lets `send` hand it over; what must not be sent is refused before. */
export async function sendMail<Settings extends { readonly from: string }>(
  message: HandOver<EmailContent>,
  { settings }: SendContext<Settings>,
  send: (parts: MailParts) => Promise<Answer>,
): Promise<Answer> {
  if (parseMailbox(settings.from) === undefined) {
    return brokenChannel("the channel's from is not one mailbox")
  }
  const parts = checkMail(message, message.content.from ?? settings.from)
  if ('reason' in parts) return refused(parts.reason, parts.details)
  return await send(parts)
}
