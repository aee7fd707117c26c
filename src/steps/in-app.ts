import { markdownToHtml } from '../language/markdown.ts'
import { channelFieldSchemas, templateField, templateSchema, type ChannelFields } from './fields.ts'
import type { StepType, TemplateText } from './step.ts'

export interface InApp extends Pick<ChannelFields, 'channel'> {
  readonly body: TemplateText
  readonly action_url?: TemplateText
  readonly buttons?: readonly Button[]
}

interface Button {
  readonly label: TemplateText
  readonly action: TemplateText
}

/** Puts an item into the recipient's feed. */
export const inApp: StepType<'in_app', InApp> = {
  type: 'in_app',
  summary: "Puts an item into the recipient's feed.",
  schema: {
    required: ['body'],
    properties: {
      channel: channelFieldSchemas.channel,
      body: templateSchema('The text, as Markdown.'),
      action_url: templateSchema('Where a click on the item leads.'),
      buttons: {
        description: 'At most two buttons, the first one being the main one.',
        type: 'array',
        maxItems: 2,
        items: {
          type: 'object',
          required: ['label', 'action'],
          properties: {
            label: templateSchema('What the button says.'),
            action: templateSchema('Where the button leads.'),
          },
          additionalProperties: false,
        },
      },
    },
  },
  example: {
    channel: 'feed' as NonNullable<InApp['channel']>,
    body: { file: 'feed.md.hbs' },
    action_url: '{{vars.app_url}}/pages/{{data.page_id}}',
    buttons: [{ label: 'Reply', action: '{{vars.app_url}}/pages/{{data.page_id}}#reply' }],
  },
  channelType: 'in_app',
  conditional: true,

  templates(step) {
    return [
      ...templateField(['body'], step.body, 'markdown'),
      ...templateField(['action_url'], step.action_url, 'url'),
      ...(step.buttons ?? []).flatMap((button, index) => [
        ...templateField(['buttons', index, 'label'], button.label, 'line'),
        ...templateField(['buttons', index, 'action'], button.action, 'url'),
      ]),
    ]
  },

  execute(step, context) {
    const content = context.render(step.body, 'markdown')
    const buttons = (step.buttons ?? []).map((button) => ({
      label: context.render(button.label, 'line'),
      action: context.render(button.action, 'url'),
    }))
    return {
      kind: 'message',
      content: {
        type: 'in_app',
        body: { content, rendered: markdownToHtml(content) },
        action_url: step.action_url === undefined ? null : context.render(step.action_url, 'url'),
        buttons,
      },
    }
  },
}
