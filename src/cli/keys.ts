import { ConfigError } from '../errors.ts'
import { FINE, FOUND, type Command, type CommandContext, type ExitCode } from './command.ts'
import { table } from './output.ts'

/** Makes, lists and revokes API keys; it opens the database itself. */
export const keys: Command = {
  name: 'keys',
  summary: 'Make, list and revoke API keys (opens the database)',
  usage: [
    'create --environment <name> [--scope <scope>] [--public]',
    'list [--environment <name>]',
    'revoke <key id>',
  ],
  words: { min: 1, max: 2 },
  options: {
    environment: { type: 'string', short: 'e', value: 'name', help: 'the environment of the key' },
    name: { type: 'string', help: 'what the key is for, as audits show it; default: command line' },
    scope: {
      type: 'string',
      multiple: true,
      help: 'trigger, read, write or operate; default: trigger, read and write',
    },
    public: {
      type: 'boolean',
      help: 'a key that may stand in a page: for the feed and what else is of its user',
    },
  },
  run(context) {
    const [verb, id] = context.words
    if (verb === 'create' && id === undefined) return create(context)
    if (verb === 'list' && id === undefined) return list(context)
    if (verb === 'revoke' && id !== undefined) return revoke(context, id)
    throw new ConfigError('usage: belfry keys create | list | revoke <key id>')
  },
}

const SCOPES = ['trigger', 'read', 'write', 'operate']
const USUAL_SCOPES = ['trigger', 'read', 'write']

async function create({ options, output, host }: CommandContext): Promise<ExitCode> {
  const environment = options.text('environment')
  if (environment === undefined) throw new ConfigError('keys create needs --environment')
  const given = options.list('scope').flatMap((scopes) => scopes.split(','))
  const scopes = given.length > 0 ? given : USUAL_SCOPES
  const unknown = scopes.find((scope) => !SCOPES.includes(scope))
  if (unknown !== undefined)
    throw new ConfigError(`there is no scope "${unknown}", only ${SCOPES.join(', ')}`)
  const isPublic = options.flag('public')
  if (isPublic && given.length > 0)
    throw new ConfigError('a public key has no scopes: leave out --scope or --public')
  const name = options.text('name') ?? 'command line'
  await using ring = await host.openKeys()
  const { id, key, isKnown } = await ring.create({ environment, name, scopes, isPublic })
  const shown = { kind: isPublic ? 'public' : 'secret', scopes: isPublic ? [] : scopes }
  const made = { id, key, environment, environment_exists: isKnown, name, ...shown }
  output.result(made, () => [key])
  output.note('This key is shown once and kept nowhere.')
  if (!isKnown) output.note(`warning: there is no environment "${environment}" so far`)
  return FINE
}

async function list({ options, output, host }: CommandContext): Promise<ExitCode> {
  await using ring = await host.openKeys()
  const found = await ring.list(options.text('environment'))
  output.result(found, () =>
    found.length === 0
      ? ['no keys']
      : table(
          ['KEY', 'ENVIRONMENT', 'KIND', 'NAME', 'SCOPES', 'SOURCE', 'MADE', 'REVOKED'],
          found.map((key) => [
            key.id,
            key.environment,
            key.kind,
            key.name,
            key.scopes.join(','),
            key.source,
            key.created_at.toISOString(),
            key.revoked_at?.toISOString() ?? '',
          ]),
        ),
  )
  return FINE
}

async function revoke({ output, host }: CommandContext, id: string): Promise<ExitCode> {
  await using ring = await host.openKeys()
  const revoked = await ring.revoke(id)
  output.result({ revoked }, () => [revoked ? 'revoked' : `no key ${id} is in use`])
  return revoked ? FINE : FOUND
}
