import { TerminalFailure } from '../errors.ts'
import { htmlToText } from '../language/html.ts'
import { markdownToHtml } from '../language/markdown.ts'
import { lookUp } from '../language/paths.ts'
import {
  channelFieldSchemas,
  checkWindows,
  pathSchema,
  templateField,
  templateSchema,
  timesOf,
  type ChannelFields,
  type WindowFields,
} from './fields.ts'
import {
  overridesOf,
  overridesSchema,
  overrideTemplates,
  type OverrideFields,
} from './overrides.ts'
import type { Attachment, StepBase, StepContext, StepType, TemplateText } from './step.ts'

export interface Email extends ChannelFields, OverrideFields, WindowFields {
  readonly subject: TemplateText
  readonly html?: TemplateText
  readonly markdown?: TemplateText
  readonly text?: TemplateText
  readonly layout?: string
  readonly preheader?: TemplateText
  readonly to?: TemplateText
  readonly from?: TemplateText
  readonly reply_to?: TemplateText
  readonly cc?: Addresses
  readonly bcc?: Addresses
  readonly headers?: Readonly<Record<string, TemplateText>>
  readonly attachments?: string
  /** What is told of what its reader does with it; nothing unless said. */
  readonly tracking?: { readonly opens?: boolean; readonly links?: boolean }
}

/** One template for each address: what one renders to is never split. */
type Addresses = TemplateText | readonly TemplateText[]

/** The layout that wraps a body where the step names none. */
const DEFAULT_LAYOUT = 'default'
/** The name that stands for no layout. */
const NO_LAYOUT = 'none'

/** Headers that the message's own fields, or the provider, decide. */
const RESERVED_HEADER =
  /^(?:from|to|cc|bcc|sender|reply-to|subject|date|message-id|mime-version|return-path|received|dkim-signature|content-.*)$/i

const addressesSchema = (description: string): object => ({
  description,
  type: ['string', 'object', 'array'],
  items: templateSchema('One address.'),
  maxItems: 50,
  required: ['file'],
  properties: { file: { type: 'string', minLength: 1 } },
  additionalProperties: false,
})

/** Sends an e-mail. */
export const email: StepType<'email', Email> = {
  type: 'email',
  summary: 'Sends an e-mail.',
  schema: {
    required: ['subject'],
    properties: {
      channel: channelFieldSchemas.channel,
      subject: templateSchema('The subject line.'),
      html: templateSchema(
        'The body as HTML, or MJML in a file that ends in `.mjml.hbs`. Either this or `markdown`.',
      ),
      markdown: templateSchema('The body as Markdown. Either this or `html`.'),
      text: templateSchema('The plain text beside the HTML; made from it when left out.'),
      layout: {
        description:
          'The layout around the body, `_layouts/<name>.html.hbs` or `.mjml.hbs`; `none` for no layout. ' +
          'Left out, the layout `default`, where there is one.',
        type: 'string',
        pattern: '^[a-z0-9][a-z0-9_-]*$',
      },
      preheader: templateSchema('What a mailbox shows behind the subject.'),
      to: templateSchema("The address; left out, the recipient's `email`."),
      from: templateSchema("The sender; left out, the channel's."),
      reply_to: templateSchema('Where answers go.'),
      cc: addressesSchema('Copies, one template for each address.'),
      bcc: addressesSchema('Blind copies, one template for each address.'),
      headers: {
        description: 'Further headers, by name.',
        type: 'object',
        propertyNames: { pattern: '^[A-Za-z0-9-]{1,100}$' },
        maxProperties: 50,
        additionalProperties: templateSchema('The value.'),
      },
      attachments: pathSchema('A list of `{name, content_type, content}`, with base64 content.'),
      tracking: {
        description:
          'What is noted of its reader: `opens`, by an invisible image, and `links` that are followed, by way of this server. Neither unless told; needs `BELFRY_PUBLIC_URL`.',
        type: 'object',
        properties: { opens: { type: 'boolean' }, links: { type: 'boolean' } },
        additionalProperties: false,
      },
      expires_after: channelFieldSchemas.expires_after,
      send_windows: channelFieldSchemas.send_windows,
      overrides: overridesSchema,
    },
  },
  example: {
    channel: 'email' as NonNullable<Email['channel']>,
    subject: 'New comment on {{data.page_name}}',
    html: { file: 'email.html.hbs' },
    markdown: 'Hello **{{recipient.name}}**',
    text: { file: 'email.txt.hbs' },
    layout: 'default',
    preheader: '{{actor.name}} wrote to you',
    to: '{{data.email}}',
    from: 'Example <hello@example.com>',
    reply_to: 'reply+{{data.thread_id}}@example.com',
    cc: ['{{data.manager_email}}'],
    bcc: ['archive@example.com'],
    headers: { 'X-Thread': '{{data.thread_id}}' },
    attachments: 'data.attachments',
    tracking: { opens: true, links: true },
    expires_after: '1d',
    send_windows: [{ days: 'weekdays', from: '09:00', until: '18:00' }],
    overrides: { postmark: { Tag: '{{data.page_id}}' } },
  },
  channelType: 'email',
  conditional: true,

  templates(step) {
    return [
      ...templateField(['subject'], step.subject, 'line'),
      ...templateField(['html'], step.html, 'html'),
      ...templateField(['markdown'], step.markdown, 'markdown'),
      ...templateField(['text'], step.text, 'text'),
      ...templateField(['preheader'], step.preheader, 'line'),
      ...templateField(['to'], step.to, 'line'),
      ...templateField(['from'], step.from, 'line'),
      ...templateField(['reply_to'], step.reply_to, 'line'),
      ...addressFields('cc', step.cc),
      ...addressFields('bcc', step.bcc),
      ...Object.entries(step.headers ?? {}).flatMap(([name, template]) =>
        templateField(['headers', name], template, 'line'),
      ),
      ...overrideTemplates(step),
    ]
  },

  paths(step) {
    return step.attachments === undefined
      ? []
      : [{ path: ['attachments'], value: step.attachments }]
  },

  check(step) {
    const reserved = Object.keys(step.headers ?? {}).filter((name) => RESERVED_HEADER.test(name))
    const headers = [
      ...checkWindows(step),
      ...reserved.map((name) => ({
        path: ['headers', name],
        code: 'reserved_header',
        message: `the header "${name}" is set by the message itself`,
      })),
    ]
    if (step.html !== undefined && step.markdown !== undefined) {
      const message = 'an e-mail has either "html" or "markdown", not both'
      return [...headers, { path: ['markdown'], code: 'conflicting_keys', message }]
    }
    if (step.html !== undefined || step.markdown !== undefined) return headers
    const message = 'an e-mail needs "html" or "markdown"'
    return [...headers, { path: [], code: 'missing_key', message }]
  },

  execute(step, context) {
    const to = recipientAddress(step, context)
    if (to === undefined) return { kind: 'skip', reason: 'recipient_data_missing' }
    const body = bodyOf(step, context)
    const text = step.text === undefined ? htmlToText(body) : context.render(step.text, 'text')
    const headers = Object.entries(step.headers ?? {}).map(([name, template]) => [
      name,
      context.render(template, 'line'),
    ])
    return {
      kind: 'message',
      content: {
        type: 'email',
        to,
        from: optionalLine(step.from, context),
        reply_to: optionalLine(step.reply_to, context),
        cc: addressesOf(step.cc, context),
        bcc: addressesOf(step.bcc, context),
        subject: context.render(step.subject, 'line').trim(),
        html: withPreheader(body, optionalLine(step.preheader, context)),
        text,
        headers: Object.fromEntries(headers),
        attachments: attachmentsOf(step.attachments, context),
        ...overridesOf(step, context),
      },
      ...timesOf(step, context),
    }
  },
}

/** The layout that wraps the body of a step; undefined where none does. */
export function layoutOf(
  step: Pick<Email, 'layout'>,
  hasLayout: (name: string) => boolean,
): string | undefined {
  if (step.layout === NO_LAYOUT) return undefined
  if (step.layout !== undefined) return step.layout
  return hasLayout(DEFAULT_LAYOUT) ? DEFAULT_LAYOUT : undefined
}

function recipientAddress(step: Email, context: StepContext): string | undefined {
  const address =
    step.to === undefined ? context.scope.recipient['email'] : context.render(step.to, 'line')
  if (typeof address !== 'string') return undefined
  const trimmed = address.trim()
  return trimmed === '' ? undefined : trimmed
}

function bodyOf(step: StepBase & Email, context: StepContext): string {
  const layout = layoutOf(step, (name) => context.hasLayout(name))
  if (step.html !== undefined) return context.renderHtml(step.html, layout)
  const html = markdownToHtml(context.render(step.markdown ?? '', 'markdown'))
  return layout === undefined ? html : context.renderLayout(layout, html)
}

/** Puts the preheader first in the body, where mailboxes look for it and nobody sees it. */
function withPreheader(html: string, preheader: string | null): string {
  if (preheader === null) return html
  const escaped = preheader.replace(/[&<>"]/g, (mark) => `&#${mark.charCodeAt(0)};`)
  const hidden = `<div style="display:none;max-height:0;overflow:hidden">${escaped}</div>`
  const body = /<body\b[^>]*>/i.exec(html)
  if (body === null) return hidden + html
  const at = body.index + body[0].length
  return html.slice(0, at) + hidden + html.slice(at)
}

function optionalLine(template: TemplateText | undefined, context: StepContext): string | null {
  if (template === undefined) return null
  const line = context.render(template, 'line').trim()
  return line === '' ? null : line
}

function listOf(addresses: Addresses | undefined): readonly TemplateText[] {
  if (addresses === undefined) return []
  return Array.isArray(addresses) ? addresses : [addresses as TemplateText]
}

function addressFields(name: 'cc' | 'bcc', addresses: Addresses | undefined) {
  const isList = Array.isArray(addresses)
  return listOf(addresses).flatMap((template, index) =>
    templateField(isList ? [name, index] : [name], template, 'line'),
  )
}

function addressesOf(addresses: Addresses | undefined, context: StepContext): readonly string[] {
  return listOf(addresses).flatMap((template) => optionalLine(template, context) ?? [])
}

function attachmentsOf(path: string | undefined, context: StepContext): readonly Attachment[] {
  const { scope, openingData } = context
  const found = path === undefined ? undefined : lookUp({ ...scope, data: openingData }, path)
  if (found === undefined || found === null) return []
  if (!Array.isArray(found)) throw new TerminalFailure(`${path} is no list of attachments`)
  return found.map((item, index) => attachmentOf(item, `${path}.${index}`))
}

function attachmentOf(item: unknown, where: string): Attachment {
  const { name, content_type, content, content_id, disposition } = (item ?? {}) as Partial<
    Record<keyof Attachment, unknown>
  >
  if (typeof name !== 'string' || typeof content_type !== 'string' || typeof content !== 'string') {
    throw new TerminalFailure(`${where} is no attachment: name, content_type and content are texts`)
  }
  return {
    name,
    content_type,
    content,
    ...(typeof content_id === 'string' && { content_id }),
    ...(disposition === 'inline' && { disposition }),
  }
}
