import { KEY_PATTERN } from '../ids.ts'
import { conditionsSchema } from '../language/conditions.ts'
import { durationSchema } from '../language/durations.ts'
import { preferenceSchemas } from '../language/preference-schema.ts'
import type { ChannelType } from '../steps/step.ts'
import { scheduleSchema } from './declared-schedules.ts'
import { BRANCH_LENGTH_MAX } from './environment.ts'
import { sourceDefinitions } from './sources.ts'

/** What the environment schema needs to know of a provider. */
export interface ProviderShape {
  readonly name: string
  readonly type: ChannelType
  readonly schema: {
    readonly required: readonly string[]
    readonly properties: Readonly<Record<string, object>>
  }
  readonly example: object
}

/** The names of secrets, as they stand in the surroundings of the process. */
const secretSchema = {
  description: 'The name of a secret.',
  type: 'string',
  pattern: '^[A-Z][A-Z0-9_]*$',
} as const

/** The fields of an environment's policy. */
export const policyFields = {
  prune_max_percent: {
    description:
      'A revision that would archive more than this many in a hundred of the live workflows, and at least five, waits for a confirmation; 20 when left out.',
    type: 'number',
    minimum: 0,
    maximum: 100,
  },
  history: {
    description:
      'What a force-push does: `apply` (the default), `confirm` (it waits for an operator) or `refuse`.',
    enum: ['apply', 'confirm', 'refuse'],
  },
  signatures: {
    description:
      'Whether each new commit has to be signed by an allowed key: `off` (the default), `warn` or `enforce`.',
    enum: ['off', 'warn', 'enforce'],
  },
  promotion: {
    description:
      'Whether workflows have to be applied in `promotes_from` before: `off`, `warn` (the default) or `enforce`.',
    enum: ['off', 'warn', 'enforce'],
  },
  soak: {
    ...durationSchema,
    description:
      'How long they have to be live there first, without a break, such as `2h`; left out, they may come at once.',
  },
} as const

export const promotesFromField = {
  description:
    'The environment in which content is applied before it comes here; anywhere when left out.',
  type: 'string',
  pattern: KEY_PATTERN,
} as const

const preferences = preferenceSchemas({ inGit: true })

/** The fields of `environments/<name>.yaml`. */
export const environmentFields = {
  ref: {
    description: "The branch that it follows; the environment's name when left out.",
    type: 'string',
    pattern:
      '^(?![./-]|@$)(?!.*(?:\\.\\.|//|@\\{|/\\.|\\.lock(?:/|$)))[^\\u0000-\\u0020\\u007f~^:?*\\[\\\\]{1,' +
      `${BRANCH_LENGTH_MAX}}(?<![./])$`,
  },
  promotes_from: promotesFromField,
  timezone: {
    description:
      'An IANA name such as `Europe/Berlin`, for recipients without one; UTC when left out.',
    type: 'string',
  },
  locale: {
    description:
      'A language tag such as `en` or `de-AT`, for recipients without one; `en` when left out.',
    type: 'string',
  },
  policy: {
    description: 'What guards the environment; only what the default branch says of it counts.',
    type: 'object',
    properties: policyFields,
    additionalProperties: false,
  },
  variables: {
    description: 'What templates reach as `vars.<name>`.',
    type: 'object',
    maxProperties: 500,
    propertyNames: {
      description: 'letters, digits and "_", not starting with a digit',
      pattern: '^[A-Za-z_][A-Za-z0-9_]{0,99}$',
    },
    additionalProperties: { $ref: '#/$defs/variable' },
  },
  channels: {
    description: 'How messages leave, by key.',
    type: 'object',
    maxProperties: 200,
    propertyNames: {
      description: 'two or more of a-z, 0-9, "_" and "-", starting with a letter or digit',
      pattern: KEY_PATTERN,
    },
    additionalProperties: { $ref: '#/$defs/channel' },
  },
  sources: {
    description: 'Whence events come, by key.',
    type: 'object',
    maxProperties: 200,
    propertyNames: {
      description: 'two or more of a-z, 0-9, "_" and "-", starting with a letter or digit',
      pattern: KEY_PATTERN,
    },
    additionalProperties: { $ref: '#/$defs/source' },
  },
  schedules: {
    description: 'Which workflows start without being triggered, and when, by name.',
    type: 'object',
    maxProperties: 200,
    propertyNames: {
      description: 'two or more of a-z, 0-9, "_" and "-", starting with a letter or digit',
      pattern: KEY_PATTERN,
    },
    additionalProperties: { $ref: '#/$defs/schedule' },
  },
  preferences: {
    description: 'What holds for all who say nothing else in their preferences.',
    type: 'object',
    properties: preferences.fields,
    additionalProperties: false,
  },
  client_keys: {
    description:
      'The public keys, by any name, of what signs the tokens of users; see `docs/api.md`.',
    type: 'object',
    maxProperties: 20,
    propertyNames: {
      description: 'two or more of a-z, 0-9, "_" and "-", starting with a letter or digit',
      pattern: KEY_PATTERN,
    },
    additionalProperties: { $ref: '#/$defs/client_key' },
  },
} as const

/** The fields of a variable: a value that may be seen, or the name of a secret. */
export const variableFields = {
  value: { description: 'Any value.' },
  public: { description: 'Also shown to in-app clients.', type: 'boolean' },
  secret: secretSchema,
} as const

/** The fields of a key: the file that it stands in, or itself. */
export const clientKeyFields = {
  file: {
    description: 'A file beside this one; its name ends in `.pem`.',
    type: 'string',
    pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,199}\\.pem$',
  },
  pem: { description: 'The key itself, as PEM.', type: 'string', maxLength: 16_384 },
} as const

/** The fields that channels of all providers share, beside `type`, `provider` and `settings`. */
export const channelFields = {
  name: { description: 'What people call it.', type: 'string', minLength: 1, maxLength: 255 },
  sandbox: {
    description: 'Messages are made and rendered, and not handed over.',
    type: 'boolean',
  },
  conditions: {
    $ref: '#/$defs/conditions',
    description: 'Where they do not hold, steps that use the channel are skipped.',
  },
  on_ambiguous: {
    description:
      'What becomes of a message that may have been taken: `retry` (with the same key; the default) or `hold`.',
    enum: ['retry', 'hold'],
  },
  suppress_bounced: {
    description:
      'Whether a mail address or phone number that is gone, or whose owner complained, gets nothing more until it is cleared; `true` when left out.',
    type: 'boolean',
  },
} as const

/** The JSON Schema of `environments/<name>.yaml`, composed of the providers' settings. */
export function environmentSchema(providers: readonly ProviderShape[]): object {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'An environment of Belfry',
    type: 'object',
    properties: environmentFields,
    additionalProperties: false,
    $defs: {
      conditions: conditionsSchema,
      ...preferences.$defs,
      ...sourceDefinitions,
      variable: {
        description: 'either "value" or "secret"',
        type: 'object',
        properties: variableFields,
        additionalProperties: false,
        oneOf: [
          { required: ['value'] },
          { required: ['secret'], properties: { public: { const: false } } },
        ],
      },
      client_key: {
        description: 'either "file" or "pem"',
        type: 'object',
        properties: clientKeyFields,
        additionalProperties: false,
        oneOf: [{ required: ['file'] }, { required: ['pem'] }],
      },
      schedule: scheduleSchema,
      channel: {
        type: 'object',
        required: ['type', 'provider'],
        discriminator: { propertyName: 'provider' },
        oneOf: providers.map(({ name }) => ({ $ref: `#/$defs/channel.${name}` })),
      },
      ...Object.fromEntries(providers.map((one) => [`channel.${one.name}`, channelSchema(one)])),
    },
  }
}

function channelSchema({ name, type, schema }: ProviderShape): object {
  const isNeeded = schema.required.length > 0
  return {
    type: 'object',
    required: ['type', 'provider', ...(isNeeded ? ['settings'] : [])],
    properties: {
      type: { const: type },
      provider: { const: name },
      ...channelFields,
      settings: {
        description: `The settings of ${name}.`,
        type: 'object',
        required: schema.required,
        properties: schema.properties,
        additionalProperties: false,
      },
    },
    additionalProperties: false,
  }
}
