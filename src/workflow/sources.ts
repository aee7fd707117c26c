import type { SecretReference } from '../channels/secret.ts'

/** How what a source sends is proved and read. */
export const SOURCE_TYPES = [
  'segment',
  'rudderstack',
  'standard_webhooks',
  'stripe',
  'cloudevents',
  'hmac',
] as const
export type SourceType = (typeof SOURCE_TYPES)[number]

/** Whence events come, as an environment's file says it. */
export interface Source {
  readonly type: SourceType
  readonly name?: string
  /** Several while one takes the other's place. */
  readonly secret: SecretReference | readonly SecretReference[]
  /** Segment and RudderStack: the collection of the objects that `group` is about. */
  readonly group_collection?: string
  /** Webhooks: dotted paths into what was sent. */
  readonly event?: string
  readonly id?: string
  readonly user?: string
  /** hmac: where the signature stands, and what it is made of. */
  readonly signature?: SignatureFormat
}

export interface SignatureFormat {
  readonly header?: string
  readonly algorithm?: 'sha1' | 'sha256' | 'sha512'
  readonly encoding?: 'hex' | 'base64'
  readonly prefix?: string
  /** A header with the time of signing, in seconds: then `<time>.<body>` is what was signed. */
  readonly timestamp_header?: string
}

const reference = {
  type: 'object',
  required: ['secret'],
  properties: {
    secret: { description: 'The name of a secret.', type: 'string', pattern: '^[A-Z][A-Z0-9_]*$' },
  },
  additionalProperties: false,
} as const

const headerName = { type: 'string', pattern: '^[A-Za-z0-9-]{1,100}$' } as const
const pathInBody = {
  type: 'string',
  pattern: '^[^.\\s]+(?:\\.[^.\\s]+)*$',
  maxLength: 255,
} as const

const common = {
  name: { description: 'What people call it.', type: 'string', minLength: 1, maxLength: 255 },
  secret: {
    description:
      'The write key, or what is signed with: `{ secret: NAME }`, or up to five of them while one takes the place of another.',
    anyOf: [reference, { type: 'array', minItems: 1, maxItems: 5, items: reference }],
  },
} as const

const webhook = {
  event: {
    ...pathInBody,
    description: 'Where the name of the event stands in the body; `type` when left out.',
  },
  id: {
    ...pathInBody,
    description: 'Where the id stands by which an event is known again; `id` when left out.',
  },
  user: {
    ...pathInBody,
    description: 'Where the id of the user stands whose waiting runs the event is for.',
  },
} as const

const signature = {
  description: 'Where the signature of a source of type `hmac` stands, and what it is made of.',
  type: 'object',
  properties: {
    header: { ...headerName, description: 'Its header; `x-signature` when left out.' },
    algorithm: { description: '`sha256` when left out.', enum: ['sha1', 'sha256', 'sha512'] },
    encoding: { description: '`hex` when left out.', enum: ['hex', 'base64'] },
    prefix: { description: 'What stands before it.', type: 'string', maxLength: 100 },
    timestamp_header: {
      ...headerName,
      description: 'A header with the time in seconds: `<time>.<body>` is signed then.',
    },
  },
  additionalProperties: false,
} as const

const fieldsOf: Readonly<Record<SourceType, Readonly<Record<string, object>>>> = {
  segment: cdp(),
  rudderstack: cdp(),
  standard_webhooks: webhook,
  stripe: webhook,
  cloudevents: { user: webhook.user },
  hmac: { ...webhook, signature },
}

function cdp() {
  return {
    group_collection: {
      description: 'The collection of the objects that `group` keeps; `groups` when left out.',
      type: 'string',
      pattern: '^[^$/#][^/#]{0,255}$',
    },
  } as const
}

/** Every field of a source; which type takes which is in the schema. */
export const sourceFields = {
  type: {
    description: `How it proves itself and is read: ${SOURCE_TYPES.map((type) => `\`${type}\``).join(', ')}.`,
  },
  ...common,
  ...fieldsOf.segment,
  ...fieldsOf.hmac,
} as const

/** The definitions of the environment schema that are about sources. */
export const sourceDefinitions = {
  source: {
    type: 'object',
    required: ['type', 'secret'],
    discriminator: { propertyName: 'type' },
    oneOf: SOURCE_TYPES.map((type) => ({ $ref: `#/$defs/source.${type}` })),
  },
  ...Object.fromEntries(
    SOURCE_TYPES.map((type) => [
      `source.${type}`,
      {
        type: 'object',
        required: ['type', 'secret'],
        properties: { type: { const: type }, ...common, ...fieldsOf[type] },
        additionalProperties: false,
      },
    ]),
  ),
}

/** The references to secrets of a source, one or several. */
export function secretsOfSource({ secret }: Source): readonly SecretReference[] {
  return 'secret' in secret ? [secret] : secret
}
