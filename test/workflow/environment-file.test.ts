import { providerList } from '../../src/channels/index.ts'
import { describe, expect, test } from 'vitest'
import { isBranchName } from '../../src/git/refs.ts'
import { channelId, type ChannelKey, type EnvironmentName } from '../../src/ids.ts'
import { checkAgainstEnvironment } from '../../src/workflow/check.ts'
import { parseDeclaration, parseEnvironment } from '../../src/workflow/environment-file.ts'
import type { EnvironmentSettings } from '../../src/workflow/environment.ts'
import type { VariableUse, ChannelUse } from '../../src/workflow/workflow.ts'

const name = 'eu-prod' as EnvironmentName
const path = 'environments/eu-prod.yaml'

function parse(text: string, secrets: readonly string[] = []) {
  const hasSecret = (secret: string) => secrets.includes(secret)
  const context = { providers: providerList, hasSecret }
  return parseEnvironment(name, path, { bytes: Buffer.from(text), context })
}

function declare(text: string) {
  return parseDeclaration(name, path, { bytes: Buffer.from(text), providers: providerList })
}

function settingsOf(text: string, secrets: readonly string[] = []): EnvironmentSettings {
  const result = parse(text, secrets)
  if (result.kind === 'invalid') throw new Error(JSON.stringify(result.diagnostics))
  return result.settings
}

describe('an environment', () => {
  test('has settings for all that its file leaves out', () => {
    expect(settingsOf('{}')).toEqual({ timezone: 'UTC', locale: 'en', variables: {}, channels: {} })
    expect(settingsOf('channels: {feed: {type: in_app, provider: in_app}}').channels).toEqual({
      feed: {
        key: 'feed',
        type: 'in_app',
        provider: 'in_app',
        sandbox: false,
        on_ambiguous: 'retry',
        settings: {},
      },
    })
  })

  test('has preferences, whose channels are known by their ids', () => {
    const text = `channels: {feed: {type: in_app, provider: in_app}}
preferences:
  categories: {news: {channels: {feed: false}}}
  channel_types: {email: {conditions: [{variable: recipient.plan, operator: exists}]}}
  channels: {${channelId('feed' as ChannelKey).toUpperCase()}: true}
  commercial_subscribed: false
`
    const feed = channelId('feed' as ChannelKey)
    expect(settingsOf(text).preferences).toEqual({
      categories: { news: { channels: { [feed]: false } } },
      channel_types: {
        email: { conditions: [{ variable: 'recipient.plan', operator: 'exists' }] },
      },
      channels: { [feed]: true },
      commercial_subscribed: false,
    })
  })

  test('keeps its schedules, with what they leave out, and where they name their workflow', () => {
    const text = `schedules:
  weekly:
    workflow: report
    recipients: [ada, {collection: teams, id: core}]
    repeats: [{frequency: weekly, days: weekdays}]
`
    expect(settingsOf(text).schedules).toEqual({
      weekly: {
        workflow: 'report',
        recipients: [
          { collection: '$users', id: 'ada' },
          { collection: 'teams', id: 'core' },
        ],
        actor: null,
        tenant: null,
        data: {},
        repeats: [{ frequency: 'weekly', days: 'weekdays' }],
        scheduled_at: null,
        ending_at: null,
        paused: false,
        at: { path, line: 3, column: 15 },
      },
    })
    expect(settingsOf('{}').schedules).toBeUndefined()
  })

  test('keeps secrets as references', () => {
    const text = 'variables: {token: {secret: TOKEN}, url: {value: [1], public: true}}'
    expect(settingsOf(text, ['TOKEN']).variables).toEqual({
      token: { secret: 'TOKEN' },
      url: { value: [1], public: true },
    })
  })

  test('misses the secrets that are not there, where they are named', () => {
    const text = `variables:
  token: {secret: TOKEN}
channels:
  mail:
    type: email
    provider: smtp
    settings: {host: a, from: a@example.com, password: {secret: SMTP_PASSWORD}}
`
    const result = parse(text)
    expect(result.kind === 'invalid' && result.diagnostics).toMatchObject([
      { line: 2, column: 19, code: 'missing_secret', message: expect.stringContaining('TOKEN') },
      {
        line: 7,
        column: 65,
        code: 'missing_secret',
        hint: expect.stringContaining('BELFRY_SECRET_EU_PROD__SMTP_PASSWORD'),
      },
    ])
    expect(parse(text, ['TOKEN', 'SMTP_PASSWORD']).kind).toBe('settings')
  })

  test('has no secrets in the conditions of its channels', () => {
    const text = `variables: {token: {secret: TOKEN}}
channels:
  feed:
    type: in_app
    provider: in_app
    conditions: {all: [{variable: vars.token, operator: exists}]}
`
    const result = parse(text, ['TOKEN'])
    expect(result.kind === 'invalid' && result.diagnostics).toMatchObject([
      { line: 6, column: 35, code: 'secret_in_template' },
    ])
  })
})

describe('a declaration', () => {
  test('names the branch, by default the one of its name', () => {
    expect(declare('ref: release/eu')).toMatchObject({ declaration: { name, ref: 'release/eu' } })
    expect(declare('locale: de')).toMatchObject({ declaration: { name, ref: name } })
  })

  test('does not ask for secrets: they are asked for where the settings are read', () => {
    expect(declare('variables: {a: {secret: A}}').kind).toBe('declaration')
  })

  test.each(['a..b', '-a', 'a b', 'a.lock', 'a/', '/a', 'a@{1}', 'a~1', '.a', 'a//b'])(
    'refuses the branch %s',
    (ref) => {
      expect(declare(`ref: "${ref}"`).kind).toBe('invalid')
    },
  )
})

describe('a version in an environment', () => {
  const at = { path: 'workflows/a/workflow.yaml', line: 3, column: 5 }
  const channel = (given: Partial<ChannelUse>) => [
    { type: 'in_app', channel: null, ...given, ...at },
  ]
  const variable = (given: Partial<VariableUse>) => [
    { name: 'url', secrets: false, ...given, ...at },
  ]
  const settings = settingsOf(
    `variables: {url: {value: x}, token: {secret: TOKEN}}
channels:
  feed: {type: in_app, provider: in_app}
  mail: {type: email, provider: smtp, settings: {host: a, from: a@example.com}}
  post: {type: email, provider: smtp, settings: {host: a, from: a@example.com}}
`,
    ['TOKEN'],
  )
  const check = (uses: { channels?: readonly object[]; variables?: readonly object[] }) =>
    checkAgainstEnvironment(
      {
        channelUses: (uses.channels ?? []) as readonly ChannelUse[],
        variableUses: (uses.variables ?? []) as readonly VariableUse[],
      },
      settings,
    ).map(({ code, severity, hint }) => [code, severity, hint])

  test('finds the only channel of a type, and one that it names', () => {
    expect(check({ channels: channel({}) })).toEqual([])
    expect(check({ channels: channel({ type: 'email', channel: 'post' as never }) })).toEqual([])
  })

  test.each<[Partial<ChannelUse>, string, string]>([
    [{ type: 'email' }, 'ambiguous_channel', 'error'],
    [{ type: 'webhook' }, 'channel_missing', 'warning'],
    [{ channel: 'fed' as never }, 'unknown_channel', 'error'],
    [{ channel: 'mail' as never }, 'wrong_channel_type', 'error'],
    [{ channel: 'constructor' as never }, 'unknown_channel', 'error'],
  ])('%j gives %s', (use, code, severity) => {
    expect(check({ channels: channel(use) })).toMatchObject([[code, severity, expect.anything()]])
  })

  test.each<[Partial<VariableUse>, string, string]>([
    [{ name: 'ulr' }, 'unknown_variable', 'warning'],
    [{ name: 'token' }, 'secret_in_template', 'error'],
  ])('%j gives %s', (use, code, severity) => {
    expect(check({ variables: variable(use) })).toMatchObject([[code, severity, expect.anything()]])
  })

  test('may use secrets where they are allowed', () => {
    expect(check({ variables: variable({ name: 'token', secrets: true }) })).toEqual([])
  })
})

describe('the branch of an environment', () => {
  test.each(['main', 'a', '@a', 'release/2026-03', 'a'.repeat(250), '\u{1F514}'.repeat(250)])(
    'may be %j, for the reader of refs too',
    (ref) => {
      expect(declare(`ref: ${JSON.stringify(ref)}`)).toMatchObject({ declaration: { ref } })
      expect(isBranchName(ref)).toBe(true)
    },
  )

  test.each(['', '@', 'a'.repeat(251), 'a b', '-a', 'a.lock', 'a//b'])(
    'cannot be %j, for the reader of refs neither',
    (ref) => {
      expect(declare(`ref: ${JSON.stringify(ref)}`)).toMatchObject({ kind: 'invalid' })
      expect(isBranchName(ref)).toBe(false)
    },
  )

  test.each([
    ['refs/heads/main', 'Write "main".'],
    ['refs/remotes/origin/team/one', 'Write "team/one".'],
    ['refs/tags/v1', 'Only branches are followed.'],
  ])('is not written as %s', (ref, hint) => {
    expect(declare(`locale: en\nref: ${ref}\n`)).toMatchObject({
      diagnostics: [{ path, line: 2, column: 6, code: 'invalid_value', hint }],
    })
  })
})

function policyOf(text: string) {
  const result = declare(text)
  return result.kind === 'declaration' ? result.declaration.policy : result.diagnostics
}

describe('the policy of a declaration', () => {
  test('has a value where nothing is said', () => {
    const unsaid = {
      prune_max_percent: 20,
      history: 'apply',
      signatures: 'off',
      promotion: 'warn',
      promotes_from: null,
    }
    expect(policyOf('{}')).toEqual(unsaid)
    expect(policyOf('policy: {}')).toEqual(unsaid)
    expect(policyOf('policy: {prune_max_percent: 0}')).toEqual({ ...unsaid, prune_max_percent: 0 })
    expect(policyOf('promotes_from: staging\npolicy: {promotion: enforce}')).toEqual({
      ...unsaid,
      promotion: 'enforce',
      promotes_from: 'staging',
    })
  })

  test.each([
    'policy: {prune_max_percent: 101}',
    'policy: {prune_max: 1}',
    'policy: 20',
    'policy: {history: keep}',
    'policy: {signatures: on}',
    'policy: {promotion: yes}',
    'policy: {promotes_from: staging}',
    'promotes_from: Staging',
  ])('%s is refused', (text) => {
    expect(policyOf(text)).toMatchObject([{ path, line: 1, severity: 'error' }])
  })

  test('is no part of the settings', () => {
    expect(settingsOf('policy: {prune_max_percent: 3}')).toEqual(settingsOf('{}'))
  })
})
