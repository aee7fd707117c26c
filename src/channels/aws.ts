import { pick } from './api.ts'
import type { ApiReply } from './api.ts'
import { secretOr } from './secret.ts'

/** The settings that name an AWS account and its region. */
export const awsSchema = {
  region: {
    description: 'The region of the service.',
    type: 'string',
    pattern: '^[a-z]{2}(-[a-z]+)+-[0-9]$',
  },
  access_key_id: secretOr({
    description: 'The id of an access key.',
    type: 'string',
    minLength: 8,
    maxLength: 200,
  }),
  secret_access_key: secretOr({
    description: 'Its secret.',
    type: 'string',
    minLength: 8,
    maxLength: 200,
  }),
  session_token: secretOr({
    description: 'The token of temporary credentials.',
    type: 'string',
    minLength: 8,
    maxLength: 4_000,
  }),
} as const

/** The name of the error in an answer: in a header, in JSON, or in XML. */
export function awsErrorOf({ headers, body }: ApiReply): string | undefined {
  const named = headers['x-amzn-errortype'] ?? pick(body, '__type') ?? pick(body, 'code')
  if (typeof named === 'string') return named.split(':')[0]?.split('#').at(-1)
  if (typeof body !== 'string') return undefined
  return /<Code>([^<]+)<\/Code>/.exec(body)?.[1]
}
