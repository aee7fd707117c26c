import {
  channelFieldSchemas,
  checkWindows,
  plainTreeFields,
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
import type { StepType, TemplateText, TemplateTree } from './step.ts'

export interface Chat extends ChannelFields, OverrideFields, WindowFields {
  readonly markdown?: TemplateText
  readonly blocks?: TemplateTree
  readonly summary?: TemplateText
}

/** Sends a message to each connection of the recipient with a chat. */
export const chat: StepType<'chat', Chat> = {
  type: 'chat',
  summary: 'Sends a message to each chat that the recipient is connected with.',
  schema: {
    required: [],
    properties: {
      channel: channelFieldSchemas.channel,
      markdown: templateSchema('The text, as Markdown. Either this or `blocks`.'),
      blocks: {
        description:
          'The parts of the message as the service takes them: blocks of Slack, embeds of Discord, the body of an Adaptive Card. Every text in it is a template. Either this or `markdown`.',
        type: 'array',
        maxItems: 50,
      },
      summary: templateSchema('What a notification of the chat says where it cannot show blocks.'),
      expires_after: channelFieldSchemas.expires_after,
      send_windows: channelFieldSchemas.send_windows,
      overrides: overridesSchema,
    },
  },
  example: {
    channel: 'ops' as NonNullable<Chat['channel']>,
    markdown: '**{{data.service}}** is down',
    blocks: [{ type: 'section', text: { type: 'mrkdwn', text: '*{{data.service}}* is down' } }],
    summary: '{{data.service}} is down',
    expires_after: '1h',
    send_windows: [{ days: 'weekdays', from: '09:00', until: '18:00' }],
    overrides: { slack: { username: '{{data.service}}', icon_emoji: ':bell:' } },
  },
  channelType: 'chat',
  conditional: true,

  templates(step) {
    return [
      ...templateField(['markdown'], step.markdown, 'markdown'),
      ...plainTreeFields(['blocks'], step.blocks),
      ...templateField(['summary'], step.summary, 'line'),
      ...overrideTemplates(step),
    ]
  },

  check(step) {
    const windows = checkWindows(step)
    if (step.markdown !== undefined && step.blocks !== undefined) {
      const message = 'a chat message has either "markdown" or "blocks", not both'
      return [...windows, { path: ['blocks'], code: 'conflicting_keys', message }]
    }
    if (step.markdown !== undefined || step.blocks !== undefined) return windows
    const message = 'a chat message needs "markdown" or "blocks"'
    return [...windows, { path: [], code: 'missing_key', message }]
  },

  execute(step, context) {
    const [first, ...others] = context.addresses
    if (first === undefined) return { kind: 'skip', reason: 'recipient_data_missing' }
    const blocks = step.blocks === undefined ? null : context.renderTree(step.blocks)
    const shown = {
      type: 'chat',
      markdown: step.markdown === undefined ? null : context.render(step.markdown, 'markdown'),
      blocks: Array.isArray(blocks) ? (blocks as readonly unknown[]) : null,
      summary: step.summary === undefined ? null : context.render(step.summary, 'line').trim(),
      ...overridesOf(step, context),
    } as const
    return {
      kind: 'message',
      content: { ...shown, connection: first },
      also: others.map((connection) => ({ ...shown, connection })),
      ...timesOf(
        step,
        context,
        context.addresses.map(() => ({})),
      ),
    }
  },
}
