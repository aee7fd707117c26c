import {
  checkHeaders,
  renderRequest,
  requestSchemas,
  requestTemplates,
  type RequestFields,
} from './request.ts'
import type { StepType } from './step.ts'

export interface Fetch extends RequestFields {
  /** Where in `data` the answer goes; laid over `data` where it is left out. */
  readonly into?: string
  /** A variable of the environment that holds the key of the signature, as `vars.name`. */
  readonly sign_with?: string
}

/** Asks a URL, and puts what it answers into the data of the run. */
export const fetch: StepType<'fetch', Fetch> = {
  type: 'fetch',
  summary: 'Asks a URL, and puts what it answers into the data of the run.',
  schema: {
    required: ['url'],
    properties: {
      ...requestSchemas('GET'),
      into: {
        description:
          'Where in `data` the answer goes, such as `crm.account`; left out, it is laid over `data`.',
        type: 'string',
        pattern: '^(?:data\\.)?[A-Za-z0-9_$-]+(?:\\.[A-Za-z0-9_$-]+){0,9}$',
      },
      sign_with: {
        description:
          'The variable that holds the key of the signature, such as `vars.crm_key`; left out, the request is not signed.',
        type: 'string',
        pattern: '^vars\\.[A-Za-z0-9_$-]+$',
      },
    },
  },
  example: {
    method: 'POST',
    url: 'https://crm.example.com/accounts/{{tenant.id}}',
    headers: { Authorization: 'Bearer {{vars.crm_token}}' },
    query: { lang: '{{recipient.locale}}' },
    body: { users: ['{{recipient.id}}'], since: '{{data.since}}' },
    into: 'crm.account',
    sign_with: 'vars.crm_key',
  },
  conditional: true,
  templates: requestTemplates,
  paths: (step) =>
    step.sign_with === undefined
      ? []
      : [{ path: ['sign_with'], value: step.sign_with, secrets: true, required: true }],

  check(step) {
    const found = checkHeaders(step)
    if (step.body === undefined || (step.method ?? 'GET') !== 'GET') return found
    const message = 'a request with the method GET has no body'
    const hint = 'Name another method, or take the body out.'
    return [...found, { path: ['body'], code: 'body_of_get', message, hint }]
  },

  execute(step, context) {
    return {
      kind: 'fetch',
      request: {
        ...renderRequest(step, context, 'GET'),
        signWith: step.sign_with?.slice('vars.'.length) ?? null,
      },
    }
  },
}

/** The keys that lead to where in `data` the answer goes; null: it is laid over `data`. */
export function placeOf({ into }: Pick<Fetch, 'into'>): readonly string[] | null {
  return into === undefined ? null : into.replace(/^data\./, '').split('.')
}
