import { inApp, step, type BrokenFiles, type Content } from './files.ts'

const WORKFLOW = 'workflows/welcome/workflow.yaml'
const ENVIRONMENT = 'environments/production.yaml'

function environment(name: string, content: Content, place: string): BrokenFiles {
  return { name, files: { [ENVIRONMENT]: content }, diagnostic: `${ENVIRONMENT}:${place}` }
}

/** A schedule in an environment file, whose fields begin in line 3. */
const weekly = (...lines: readonly string[]): string =>
  ['schedules:', '  weekly:', ...lines.map((line) => `    ${line}`), ''].join('\n')
const repeats = 'repeats: [{frequency: daily}]'

const feed = (lines: string): string => `channels:\n  feed:\n    type: in_app\n${lines}`

/** Environment files with one mistake, and workflows that do not fit their environment. */
export const brokenEnvironments: readonly BrokenFiles[] = [
  environment('an empty environment file', '', '1:1 empty_file'),
  environment('an unknown key of an environment', 'pipes: {}\n', '1:1 unknown_key'),
  environment('an unknown time zone', 'timezone: Europe/Berlim\n', '1:11 unknown_timezone'),
  environment('a locale that is none', 'locale: "de AT"\n', '1:9 invalid_locale'),
  environment('a ref that is no branch', 'ref: "a b"\n', '1:6 invalid_value'),
  environment(
    'an unknown type of source',
    'sources:\n  crm: {type: segmnt, secret: {secret: A}}\n',
    '2:15 unknown_type',
  ),
  environment('a source without a secret', 'sources:\n  crm: {type: stripe}\n', '2:3 missing_key'),
  environment(
    'a source that says its secret itself',
    'sources:\n  crm: {type: stripe, secret: {secret: whsec_1}}\n',
    '2:40 invalid_value',
  ),
  environment(
    'a field of a source of another type',
    'sources:\n  crm: {type: stripe, secret: {secret: A}, signature: {}}\n',
    '2:44 unknown_key',
  ),
  environment('an unknown provider', feed('    provider: in_ap\n'), '4:15 unknown_provider'),
  environment('a channel without a provider', feed('    name: Feed\n'), '2:3 missing_key'),
  environment(
    'a provider of another type',
    'channels:\n  feed: {type: email, provider: in_app}\n',
    '2:16 invalid_value',
  ),
  environment(
    'an unknown setting',
    feed('    provider: in_app\n    settings: {color: red}\n'),
    '5:16 unknown_key',
  ),
  environment(
    'a missing setting',
    'channels:\n  mail: {type: email, provider: smtp, settings: {host: a}}\n',
    '2:39 missing_key',
  ),
  environment(
    'a setting of the wrong type',
    'channels:\n  mail: {type: email, provider: smtp, settings: {host: 5, from: a@example.com}}\n',
    '2:56 invalid_value',
  ),
  environment(
    'a channel whose name is no key',
    'channels:\n  Feed: {type: in_app, provider: in_app}\n',
    '2:3 invalid_key',
  ),
  environment(
    'a variable with value and secret',
    'variables:\n  a: {value: 1, secret: A}\n',
    '2:6 invalid_value',
  ),
  environment('a bare variable', 'variables:\n  a: 1\n', '2:6 wrong_type'),
  environment(
    'a secret in small letters',
    'variables:\n  a: {secret: token}\n',
    '2:15 invalid_value',
  ),
  environment(
    'a public secret',
    'variables:\n  a: {secret: TOKEN, public: true}\n',
    '2:6 invalid_value',
  ),
  environment(
    'a preference that is none',
    'preferences: {categories: {news: 5}}\n',
    '1:34 wrong_type',
  ),
  environment('an unknown kind of preference', 'preferences: {mail: false}\n', '1:15 unknown_key'),
  environment(
    'an unknown type of channel in preferences',
    'preferences: {channel_types: {mail: false}}\n',
    '1:31 unknown_key',
  ),
  environment(
    'preferences that replace, as only those of a tenant do',
    'preferences: {channel_types: {__strategy__: replace}}\n',
    '1:31 unknown_key',
  ),
  environment(
    'preferences for a channel that the environment does not have',
    `${feed('    provider: in_app\n')}preferences: {workflows: {a: {channels: {fed: false}}}}\n`,
    '5:47 unknown_channel',
  ),
  environment(
    'a condition of preferences on the steps of a workflow',
    'preferences: {commercial_subscribed: {conditions: [{variable: refs.a.b, operator: exists}]}}\n',
    '1:63 invalid_path',
  ),
  environment(
    'a condition of preferences that starts nowhere',
    'preferences: {channel_types: {email: {conditions: [{variable: user.a, operator: exists}]}}}\n',
    '1:63 unknown_prefix',
  ),
  environment(
    'a secret in a condition of preferences',
    'variables: {t: {secret: TOKEN}}\npreferences: {channel_types: {email: {conditions: [{variable: vars.t, operator: exists}]}}}\n',
    '2:63 secret_in_template',
  ),
  environment(
    'a client key that is none',
    'client_keys: {feed: {pem: hello}}\n',
    '1:27 invalid_public_key',
  ),
  environment('a client key of nothing', 'client_keys: {feed: {}}\n', '1:21 invalid_value'),
  environment(
    'a client key in a file that is not there',
    'client_keys: {feed: {file: feed.pem}}\n',
    '1:28 file_not_found',
  ),
  environment(
    'a client key in a file elsewhere',
    'client_keys: {feed: {file: ../feed.pem}}\n',
    '1:28 invalid_value',
  ),
  {
    name: 'a private key in the place of a public one',
    files: {
      [ENVIRONMENT]: 'client_keys:\n  feed:\n    file: feed.pem\n',
      'environments/feed.pem': '-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n',
    },
    diagnostic: `${ENVIRONMENT}:3:11 private_key`,
  },
  environment(
    'a schedule without a workflow',
    weekly('recipients: [ada]', repeats),
    '2:3 missing_key',
  ),
  environment(
    'a schedule for nobody',
    weekly('workflow: a1', 'recipients: []', repeats),
    '4:17 invalid_value',
  ),
  environment(
    'a schedule for a collection of ours',
    weekly('workflow: a1', 'recipients: [{collection: $users, id: ada}]', repeats),
    '4:31 invalid_value',
  ),
  environment(
    'a schedule without a time',
    weekly('workflow: a1', 'recipients: [ada]'),
    '3:5 missing_key',
  ),
  environment(
    'a schedule at no time',
    weekly('workflow: a1', 'recipients: [ada]', 'scheduled_at: tomorrow'),
    '5:19 invalid_value',
  ),
  environment(
    'a schedule that ends before it begins',
    weekly(
      'workflow: a1',
      'recipients: [ada]',
      'scheduled_at: 2027-02-01',
      'ending_at: 2027-01-01',
    ),
    '6:16 invalid_value',
  ),
  environment(
    'a rule that never comes',
    weekly(
      'workflow: a1',
      'recipients: [ada]',
      'scheduled_at: 2027-03-01',
      'repeats: [{frequency: daily, interval: 7, days: [tue]}]',
    ),
    '6:15 invalid_value',
  ),
  environment(
    'a misspelt field of a rule',
    weekly('workflow: a1', 'recipients: [ada]', 'repeats: [{frequency: daily, hour: 9}]'),
    '5:34 unknown_key',
  ),
  environment(
    'minutes between two steps',
    weekly('workflow: a1', 'recipients: [ada]', 'repeats: [{frequency: daily, minutes: 7}]'),
    '5:43 invalid_value',
  ),
  environment(
    'a day that is none',
    weekly('workflow: a1', 'recipients: [ada]', 'repeats: [{frequency: daily, days: [monday]}]'),
    '5:41 invalid_value',
  ),
  environment(
    'days that are none',
    weekly('workflow: a1', 'recipients: [ada]', 'repeats: [{frequency: daily, days: workdays}]'),
    '5:40 invalid_value',
  ),
  environment(
    'a schedule of a workflow that is not there',
    weekly('workflow: a1', 'recipients: [ada]', repeats),
    '3:15 unknown_workflow',
  ),
  {
    name: 'an environment twice',
    files: { [ENVIRONMENT]: 'locale: en\n', 'environments/production.json': '{}' },
    diagnostic: `${ENVIRONMENT}:1:1 two_environment_files`,
  },
  {
    name: 'an environment whose name is no key',
    files: { 'environments/Production.yaml': 'locale: en\n' },
    diagnostic: 'environments/Production.yaml:1:1 invalid_key',
  },
  {
    name: 'a channel that the environment does not have',
    files: {
      [WORKFLOW]: step('type: in_app', 'body: x', 'channel: fed'),
      [ENVIRONMENT]: feed('    provider: in_app\n'),
    },
    diagnostic: `${WORKFLOW}:6:14 unknown_channel`,
  },
  {
    name: 'two channels to choose from',
    files: {
      [WORKFLOW]: inApp('Hello'),
      [ENVIRONMENT]: `${feed('    provider: in_app\n')}  other: {type: in_app, provider: in_app}\n`,
    },
    diagnostic: `${WORKFLOW}:3:5 ambiguous_channel`,
  },
  {
    name: 'a secret in a message',
    files: {
      [WORKFLOW]: inApp('"Psst: {{vars.token}}"'),
      [ENVIRONMENT]: `${feed('    provider: in_app\n')}variables: {token: {secret: TOKEN}}\n`,
    },
    diagnostic: `${WORKFLOW}:5:20 secret_in_template`,
  },
  {
    name: 'a signature with a variable that the environment does not have',
    files: {
      [WORKFLOW]: step('type: fetch', 'url: https://example.com', 'sign_with: vars.kye'),
      [ENVIRONMENT]: `${feed('    provider: in_app\n')}variables: {key: {secret: TOKEN}}\n`,
    },
    diagnostic: `${WORKFLOW}:6:16 unknown_variable`,
  },
]
