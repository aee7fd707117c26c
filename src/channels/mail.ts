import MailComposer from 'nodemailer/lib/mail-composer'
import type { EmailContent } from '../steps/step.ts'
import { asciiAddress as ascii, hasControls, isAddrSpec, parseMailbox } from './address.ts'
import type { Mailbox } from './address.ts'
import type { HandOver } from './provider.ts'

/** A mail ready for the wire, with the addresses it goes to. */
export interface Mail {
  readonly from: string
  /** The person it is for; the copies follow. */
  readonly to: string
  readonly recipients: readonly string[]
  readonly messageId: string
  readonly headers: Readonly<Record<string, string>>
  readonly raw: Buffer
}

/** A mail that must not be sent as it is: why, as a word and as a sentence. */
export interface Refusal {
  readonly reason: 'invalid_address' | 'invalid_header' | 'invalid_attachment'
  readonly details: string
}

const RECIPIENTS_MAX = 50
const ATTACHMENTS_MAX = 20
const ATTACHMENT_BYTES_MAX = 10 * 1024 * 1024
const HEADER_LENGTH_MAX = 2_000
/** Lines are broken at spaces; without one a line would grow beyond what servers take. */
const WORD_LENGTH_MAX = 900
const ENCODED_WORD_BYTES_MAX = 45
const HEADER_NAME = /^[A-Za-z0-9-]{1,70}$/
/** Headers that say who, when and how; they come from the message's own fields or from here. */
const RESERVED_HEADER =
  /^(from|to|cc|bcc|subject|date|message-id|sender|reply-to|return-path|received|mime-version|dkim-signature|content-.*|resent-.*|arc-.*)$/i
const MEDIA_TYPE = /^[a-z0-9][a-z0-9!#$&^_.+-]*\/[a-z0-9][a-z0-9!#$&^_.+-]*$/i

/**
 * The same for every attempt, so that receivers can tell a repetition from a second mail; in the domain of the sender, as
 * filters expect. Reports are found by what stands before the `@`.
 */
function messageIdOf(message: Pick<HandOver, 'id'>, sender: Mailbox): string {
  const address = ascii(sender.address)
  return `<${message.id}${address.slice(address.lastIndexOf('@'))}>`
}

/** Tells programs that answer mails by themselves, such as those for absences, to leave this one alone. */
function withOrigin(headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const isSaid = Object.keys(headers).some((name) => name.toLowerCase() === 'auto-submitted')
  return isSaid ? headers : { 'Auto-Submitted': 'auto-generated', ...headers }
}

/** What a mail consists of, checked: whoever writes it out, this is safe to write. */
export interface MailParts {
  readonly sender: Mailbox
  readonly replyTo: Mailbox | null
  /** Each one address, its domain in ASCII. */
  readonly to: string
  readonly cc: readonly string[]
  readonly bcc: readonly string[]
  /** One line. */
  readonly subject: string
  readonly messageId: string
  readonly content: EmailContent
}

/** The setting with the sender of a mail channel. */
export const senderSchema = {
  description:
    'The sender where a step names none: `hello@example.com` or `Example <hello@example.com>`.',
  type: 'string',
  maxLength: 500,
  pattern: '^([^\\r\\n<>]*<[^\\s<>,@]+@[^\\s<>,@]+>|[^\\s<>,@]+@[^\\s<>,@]+)$',
} as const

/**
 * Checks every address, header and attachment, before a library or a service sees it, so that user
 * data can neither add nor move a recipient; what cannot be sent safely is refused.
 */
export function checkMail(message: HandOver<EmailContent>, from: string): MailParts | Refusal {
  const { content } = message
  const sender = parseMailbox(from)
  const replyTo = content.reply_to === null ? null : parseMailbox(content.reply_to)
  if (sender === undefined || replyTo === undefined) {
    return { reason: 'invalid_address', details: 'from and reply_to each take one mailbox' }
  }
  const addresses = [content.to, ...content.cc, ...content.bcc]
  const problem =
    checkAddresses(addresses) ?? checkHeaders(content.headers) ?? checkAttachments(content)
  if (problem) return problem
  return {
    sender: readable(sender),
    replyTo: replyTo && readable(replyTo),
    to: ascii(content.to),
    cc: content.cc.map(ascii),
    bcc: content.bcc.map(ascii),
    subject: line(content.subject),
    messageId: messageIdOf(message, sender),
    content: { ...content, headers: withOrigin(content.headers) },
  }
}

/** Writes the mail as MIME, if `checkMail` lets it pass. */
export async function composeMail(
  message: HandOver<EmailContent>,
  from: string,
  now: Date,
): Promise<Mail | Refusal> {
  const parts = checkMail(message, from)
  if ('reason' in parts) return parts
  const { sender, replyTo, to, cc, bcc, subject, messageId, content } = parts
  const raw = await new MailComposer({
    from: sender,
    to: { name: '', address: content.to },
    cc: content.cc.map((address) => ({ name: '', address })),
    ...(replyTo && { replyTo }),
    ...(isPlain(subject) && { subject }),
    messageId,
    date: now,
    text: content.text.toWellFormed(),
    ...(content.html !== '' && { html: content.html.toWellFormed() }),
    headers: {
      ...content.headers,
      ...(!isPlain(subject) && { subject: { prepared: true, value: encodedWords(subject) } }),
    },
    attachments: content.attachments.map(attach),
    // The content is all there is: nothing in it may name a file or a URL to read.
    disableFileAccess: true,
    disableUrlAccess: true,
    newline: 'win',
  })
    .compile()
    .build()
  return {
    from: ascii(sender.address),
    to,
    recipients: [...new Set([to, ...cc, ...bcc])],
    messageId,
    headers: { from, to: content.to, subject, 'message-id': messageId, ...content.headers },
    raw,
  }
}

/** A mailbox as services take it in one text: `"Ann" <ann@example.com>`, or the bare address. */
export function mailboxText({ name, address }: Mailbox): string {
  if (name === '') return ascii(address)
  return `"${name.replaceAll(/["\\]/g, '\\$&')}" <${ascii(address)}>`
}

function checkAddresses(addresses: readonly string[]): Refusal | undefined {
  if (addresses.length > RECIPIENTS_MAX) {
    return { reason: 'invalid_address', details: `more than ${RECIPIENTS_MAX} recipients` }
  }
  const wrong = addresses.find((address) => !isAddrSpec(address) || ascii(address).endsWith('@'))
  if (wrong === undefined) return undefined
  const shown = JSON.stringify(wrong.slice(0, 100))
  return { reason: 'invalid_address', details: `${shown} is not one mail address` }
}

function checkHeaders(headers: Readonly<Record<string, string>>): Refusal | undefined {
  for (const [name, value] of Object.entries(headers)) {
    const shown = JSON.stringify(name.slice(0, 100))
    if (!HEADER_NAME.test(name) || RESERVED_HEADER.test(name)) {
      return { reason: 'invalid_header', details: `the header ${shown} cannot be set` }
    }
    if (hasControls(value) || value.length > HEADER_LENGTH_MAX) {
      return { reason: 'invalid_header', details: `the value of ${shown} is not one line` }
    }
    if (longestWord(value) > WORD_LENGTH_MAX) {
      return { reason: 'invalid_header', details: `the value of ${shown} cannot be folded` }
    }
  }
  return undefined
}

function checkAttachments({ attachments }: EmailContent): Refusal | undefined {
  const bytes = attachments.reduce((all, { content }) => all + (content.length * 3) / 4, 0)
  if (attachments.length > ATTACHMENTS_MAX || bytes > ATTACHMENT_BYTES_MAX) {
    return {
      reason: 'invalid_attachment',
      details: `more than ${ATTACHMENTS_MAX} attachments or ${ATTACHMENT_BYTES_MAX} bytes`,
    }
  }
  for (const { name, content, content_type: type, content_id: id = '' } of attachments) {
    const shown = JSON.stringify(name.slice(0, 100))
    if (name === '' || hasControls(name) || hasControls(id)) {
      return { reason: 'invalid_attachment', details: `${shown} is not a file name` }
    }
    if (!MEDIA_TYPE.test(type) || /^multipart\//i.test(type)) {
      return { reason: 'invalid_attachment', details: `${shown} has no media type of a file` }
    }
    if (!/^[A-Za-z0-9+/\s]*={0,2}\s*$/.test(content)) {
      return { reason: 'invalid_attachment', details: `${shown} is not base64` }
    }
  }
  return undefined
}

function attach(attachment: EmailContent['attachments'][number]) {
  return {
    filename: attachment.name.toWellFormed(),
    content: Buffer.from(attachment.content, 'base64'),
    contentType: attachment.content_type,
    ...(attachment.content_id !== undefined && { cid: attachment.content_id }),
    ...(attachment.disposition !== undefined && { contentDisposition: attachment.disposition }),
  }
}

/** Mail programs decode `=?…?=` in a name, and may bring a line break to light; the mail library lets it pass. */
function readable({ name, address }: Mailbox): Mailbox {
  return { name: name.replaceAll('=?', '= ?'), address }
}

/** A subject is one line: a line break in user data becomes a space, never a header. */
function line(text: string): string {
  return text
    .toWellFormed()
    .replaceAll(/[\p{Cc}\u2028\u2029]+/gu, ' ')
    .trim()
}

/** Whether the mail library writes a subject so that it is read as it was meant: it takes `=?…?=` for encoded already. */
function isPlain(subject: string): boolean {
  return !subject.includes('=?') && longestWord(subject) <= WORD_LENGTH_MAX
}

function longestWord(text: string): number {
  return text.split(' ').reduce((longest, word) => Math.max(longest, word.length), 0)
}

/** A text as RFC 2047 writes it, one word a line; no character is cut in two. */
function encodedWords(text: string): string {
  const words: string[] = []
  let word = ''
  for (const character of text) {
    if (Buffer.byteLength(word + character) > ENCODED_WORD_BYTES_MAX) {
      words.push(word)
      word = ''
    }
    word += character
  }
  return [...words, word]
    .map((each) => `=?UTF-8?B?${Buffer.from(each).toString('base64')}?=`)
    .join('\r\n ')
}
