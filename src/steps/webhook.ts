import { addDuration } from '../language/durations.ts'
import {
  channelFieldSchemas,
  templateField,
  templateSchema,
  treeFields,
  type ChannelFields,
} from './fields.ts'
import type { StepType, TemplateField, TemplateText, TemplateTree } from './step.ts'

export interface Webhook extends ChannelFields {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly url: TemplateText
  readonly headers?: Readonly<Record<string, TemplateText>>
  readonly query?: Readonly<Record<string, TemplateText>>
  readonly body?: TemplateTree
}

/** Headers that the connection, or Belfry's own signature, decides. */
const RESERVED_HEADER =
  /^(?:host|connection|content-length|transfer-encoding|upgrade|te|trailer|idempotency-key|webhook-(?:id|timestamp|signature))$/i

/** Calls a URL. */
export const webhook: StepType<'webhook', Webhook> = {
  type: 'webhook',
  summary: 'Calls a URL.',
  schema: {
    required: ['url'],
    properties: {
      channel: channelFieldSchemas.channel,
      method: {
        description: 'The HTTP method; POST when left out.',
        enum: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'],
      },
      url: templateSchema('The URL. Values stay in their part of it.'),
      headers: {
        description: 'Headers, by name.',
        type: 'object',
        propertyNames: { pattern: "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$" },
        maxProperties: 50,
        additionalProperties: templateSchema('The value.'),
      },
      query: {
        description: 'What is added to the query of the URL, by name.',
        type: 'object',
        maxProperties: 50,
        additionalProperties: templateSchema('The value.'),
      },
      body: {
        description:
          'Sent as JSON. Every text in it is a template; one that is a single expression keeps the type of its value.',
      },
      expires_after: channelFieldSchemas.expires_after,
    },
  },
  example: {
    channel: 'hook' as NonNullable<Webhook['channel']>,
    method: 'POST',
    url: 'https://hooks.example.com/pages/{{data.page_id}}',
    headers: { Authorization: 'Bearer {{vars.crm_token}}' },
    query: { lang: '{{recipient.locale}}' },
    body: { page: '{{data.page_id}}', items: '{{data.items}}', source: 'belfry' },
    expires_after: '1h',
  },
  channelType: 'webhook',
  conditional: true,

  templates(step) {
    return [
      ...withSecrets(templateField(['url'], step.url, 'url')),
      ...fieldsOf('headers', step.headers, 'line'),
      ...fieldsOf('query', step.query, 'text'),
      ...treeFields(['body'], step.body),
    ]
  },

  check(step) {
    return Object.keys(step.headers ?? {})
      .filter((name) => RESERVED_HEADER.test(name))
      .map((name) => ({
        path: ['headers', name],
        code: 'reserved_header',
        message: `the header "${name}" is set by the delivery itself`,
      }))
  },

  execute(step, context) {
    const rendered = (record: Webhook['headers'], kind: 'line' | 'text') =>
      Object.fromEntries(
        Object.entries(record ?? {}).map(([name, template]) => [
          name,
          context.render(template, kind),
        ]),
      )
    return {
      kind: 'message',
      content: {
        type: 'webhook',
        method: step.method ?? 'POST',
        url: context.render(step.url, 'url'),
        headers: rendered(step.headers, 'line'),
        query: rendered(step.query, 'text'),
        body: step.body === undefined ? null : context.renderTree(step.body),
        // The engine made the placeholders while it rendered, and writes them down.
        secrets: {},
      },
      ...(step.expires_after !== undefined && {
        expiresAt: addDuration(context.now, step.expires_after, context.timeZone),
      }),
    }
  },
}

function withSecrets(fields: readonly TemplateField[]): readonly TemplateField[] {
  return fields.map((field) => ({ ...field, secrets: true }))
}

function fieldsOf(
  name: 'headers' | 'query',
  record: Webhook['headers'],
  kind: 'line' | 'text',
): readonly TemplateField[] {
  return Object.entries(record ?? {}).flatMap(([key, template]) =>
    withSecrets(templateField([name, key], template, kind)),
  )
}
