import { templateField, templateSchema, treeFields } from './fields.ts'
import type {
  RequestContent,
  StepContext,
  TemplateField,
  TemplateText,
  TemplateTree,
} from './step.ts'

/** What every step that makes an HTTP request has. */
export interface RequestFields {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly url: TemplateText
  readonly headers?: Readonly<Record<string, TemplateText>>
  readonly query?: Readonly<Record<string, TemplateText>>
  readonly body?: TemplateTree
}

/** Headers that the connection, or Belfry's own signature, decides. */
const RESERVED_HEADER =
  /^(?:host|connection|content-length|transfer-encoding|upgrade|te|trailer|idempotency-key|webhook-(?:id|timestamp|signature))$/i

/** The schema of the fields of a request; `method` is the one that is meant where none is written. */
export function requestSchemas(method: 'GET' | 'POST') {
  return {
    method: {
      description: `The HTTP method; ${method} when left out.`,
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
  } as const
}

/** The templates of a request; secrets may stand in each. */
export function requestTemplates(step: RequestFields): readonly TemplateField[] {
  return [
    ...withSecrets(templateField(['url'], step.url, 'url')),
    ...fieldsOf('headers', step.headers, 'line'),
    ...fieldsOf('query', step.query, 'text'),
    ...treeFields(['body'], step.body),
  ]
}

/** Headers that a step cannot set. */
export function checkHeaders({ headers }: RequestFields) {
  return Object.keys(headers ?? {})
    .filter((name) => RESERVED_HEADER.test(name))
    .map((name) => ({
      path: ['headers', name],
      code: 'reserved_header',
      message: `the header "${name}" is set by the delivery itself`,
    }))
}

/** The request with its values in place. Throws a `TerminalFailure` as rendering does. */
export function renderRequest(
  step: RequestFields,
  context: StepContext,
  method: 'GET' | 'POST',
): RequestContent {
  const rendered = (record: RequestFields['headers'], kind: 'line' | 'text') =>
    Object.fromEntries(
      Object.entries(record ?? {}).map(([name, template]) => [
        name,
        context.render(template, kind),
      ]),
    )
  return {
    method: step.method ?? method,
    url: context.render(step.url, 'url'),
    headers: rendered(step.headers, 'line'),
    query: rendered(step.query, 'text'),
    body: step.body === undefined ? null : context.renderTree(step.body),
    // The engine made the placeholders while it rendered, and writes them down.
    secrets: {},
  }
}

function withSecrets(fields: readonly TemplateField[]): readonly TemplateField[] {
  return fields.map((field) => ({ ...field, secrets: true }))
}

function fieldsOf(
  name: 'headers' | 'query',
  record: RequestFields['headers'],
  kind: 'line' | 'text',
): readonly TemplateField[] {
  return Object.entries(record ?? {}).flatMap(([key, template]) =>
    withSecrets(templateField([name, key], template, kind)),
  )
}
