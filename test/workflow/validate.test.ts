import { providerList } from '../../src/channels/index.ts'
import { mkdtemp, mkdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { formatDiagnostic } from '../../src/workflow/format.ts'
import { validateDirectory, validateFiles } from '../../src/workflow/validate.ts'
import { entriesOf, inApp } from './files.ts'

const options = { providers: providerList }
const made: string[] = []

async function aDirectory(files: Readonly<Record<string, string>>): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'belfry-validate-'))
  made.push(root)
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), text)
  }
  return root
}

afterEach(async () => {
  for (const root of made.splice(0)) await rm(root, { recursive: true })
})

test('checks what stands on disk', async () => {
  const root = await aDirectory({
    'workflows/welcome/workflow.yaml': inApp('"{{vars.app_ulr}}"'),
    'workflows/README.md': 'About these',
    'environments/production.yaml':
      'variables: {app_url: {value: x}}\nchannels: {feed: {type: in_app, provider: in_app}}\n',
    'environments/README.md': 'About those',
    'package.json': '{',
  })
  const { diagnostics, workflows, environments, errors, warnings } = await validateDirectory(
    root,
    options,
  )
  expect({ workflows, environments, errors, warnings }).toEqual({
    workflows: 1,
    environments: 1,
    errors: 0,
    warnings: 1,
  })
  expect(diagnostics).toEqual([
    {
      path: 'workflows/welcome/workflow.yaml',
      line: 5,
      column: 14,
      code: 'unknown_variable',
      severity: 'warning',
      message: 'in "production": the environment has no variable "app_ulr": it renders empty',
      hint: expect.stringMatching(/did you mean "app_url"/i),
    },
  ])
})

test('warns of events of sources that an environment does not have', async () => {
  const root = await aDirectory({
    'workflows/order/workflow.yaml': `name: Order
trigger:
  events:
    - { source: segment, event: Order, recipients: "{{event.userId}}" }
    - { source: segmint, event: Order, recipients: "{{event.userId}}" }
steps:
  - { ref: paid, type: wait_for_event, source: shop, event: Paid }
  - { ref: sent, type: wait_for_event, source: segment, event: Sent }
`,
    'environments/production.yaml':
      'sources: { segment: { type: segment, secret: { secret: KEY } } }\n',
  })
  const { diagnostics, errors } = await validateDirectory(root, options)
  expect(errors).toBe(0)
  expect(diagnostics).toMatchObject([
    {
      line: 5,
      column: 17,
      code: 'unknown_source',
      severity: 'warning',
      message:
        'in "production": the environment has no source "segmint": no event starts the workflow',
      hint: expect.stringMatching(/did you mean "segment"/i),
    },
    {
      line: 7,
      column: 48,
      code: 'unknown_source',
      message:
        'in "production": the environment has no source "shop": nothing but its time ends the wait',
      hint: "Add it to the environment's sources.",
    },
  ])
})

test('takes warnings for errors when it is strict', async () => {
  const root = await aDirectory({
    'workflows/welcome/workflow.yaml': inApp('x'),
    'environments/production.yaml': '{}',
  })
  expect(await validateDirectory(root, options)).toMatchObject({ errors: 0, warnings: 1 })
  expect(await validateDirectory(root, { ...options, strict: true })).toMatchObject({
    errors: 1,
    warnings: 0,
  })
})

test('does not follow links', async () => {
  const root = await aDirectory({ 'workflows/welcome/workflow.yaml': inApp('x') })
  await symlink('/etc', join(root, 'workflows/welcome/etc'))
  await symlink('/etc', join(root, 'environments'))
  const { diagnostics } = await validateDirectory(root, options)
  expect(diagnostics.map(({ path, code }) => `${path} ${code}`)).toEqual([
    'environments symlink',
    'workflows/welcome/etc symlink',
  ])
})

test('finds nothing wrong with a directory that has neither', async () => {
  expect(await validateDirectory(await aDirectory({}), options)).toMatchObject({
    workflows: 0,
    environments: 0,
    diagnostics: [],
  })
})

test('says that a directory cannot be read', async () => {
  await expect(validateDirectory('/nowhere/at/all', options)).rejects.toThrow(/ENOENT/)
})

test('names each problem of a shared part once, however many workflows use it', () => {
  const files = {
    'workflows/one/workflow.yaml': inApp('"{{> a}}"'),
    'workflows/two/workflow.yaml': inApp('"{{> a}}"'),
    'workflows/_partials/a.hbs': '{{> gone}}',
  }
  const { diagnostics } = validateFiles(entriesOf(files), options)
  expect(diagnostics.map(({ path, code }) => `${path} ${code}`)).toEqual([
    'workflows/_partials/a.hbs unknown_partial',
  ])
})

test('the repository ships nothing that it would complain about', async () => {
  const { diagnostics, workflows, environments } = await validateDirectory('.', options)
  expect(diagnostics).toEqual([])
  expect(workflows).toBeGreaterThan(2)
  expect(environments).toBe(3)
})

test('shows the line, and a caret under the place', () => {
  const diagnostic = {
    path: 'a.yaml',
    line: 2,
    column: 5,
    code: 'unknown_key',
    message: 'unknown key "b"',
    hint: 'Did you mean "a"?',
    severity: 'error',
  } as const
  expect(formatDiagnostic(diagnostic, 'one\n\t{a: 1, b: 2}\n')).toBe(
    [
      'a.yaml:2:5 error unknown_key unknown key "b"',
      '  2 |  {a: 1, b: 2}',
      '    |     ^',
      '  hint: Did you mean "a"?',
    ].join('\n'),
  )
  expect(formatDiagnostic(diagnostic).split('\n')).toHaveLength(2)
})

test('refuses environments that would read the secrets of each other', () => {
  const files = entriesOf({
    'environments/eu-prod.yaml': 'locale: en\n',
    'environments/eu_prod.yaml': 'locale: en\n',
    'environments/us-prod.yaml': 'locale: en\n',
  })
  const { diagnostics } = validateFiles(files, options)
  expect(diagnostics.map(({ path, code }) => `${path} ${code}`)).toEqual([
    'environments/eu-prod.yaml same_secrets',
    'environments/eu_prod.yaml same_secrets',
  ])
})

test('counts the workflows', () => {
  const entry = { mode: '100644', blob: '', bytes: new Uint8Array() }
  const codes = (count: number) => {
    const files = Array.from(
      { length: count },
      (_, at) => [`workflows/k${at}/a.md`, entry] as const,
    )
    return validateFiles(new Map(files), options).diagnostics.map(({ code }) => code)
  }
  expect(codes(50_000)).not.toContain('too_many_workflows')
  expect(codes(50_001)).toContain('too_many_workflows')
})

/** `<directory>:<line> <code>` of each diagnostic. */
function codesOf(files: Readonly<Record<string, string>>): readonly string[] {
  return validateFiles(entriesOf(files), options).diagnostics.map(
    ({ path, line, code }) => `${path.split('/').at(-2)}:${line} ${code}`,
  )
}

describe('one run shows every problem', () => {
  test('of a workflow whose shape is broken, in its sound steps, parts and channels', () => {
    const file = `name: Welcome
name: Twice
colour: red
conditions: {all: [{variable: data.a, operator: equals}]}
steps:
  - {ref: a, type: in_app}
  - {ref: b, type: in_app, body: "{{uper data.a}}"}
  - {ref: b, type: in_app, body: "{{> gone}}"}
  - ref: c
    type: branch
    branches:
      - name: first
        conditions: {all: [{variable: data.a, operator: exists}]}
        steps:
          - {ref: d, type: in_app, body: 5}
          - {ref: e, type: in_app, body: {file: gone.hbs}}
      - {name: rest, steps: []}
  - {ref: f, type: in_app, body: x, channel: fed}
  - {ref: g, type: gone}
`
    const environment = 'channels:\n  feed: {type: in_app, provider: in_app}\n'
    expect(
      codesOf({
        'workflows/welcome/workflow.yaml': file,
        'environments/production.yaml': environment,
      }),
    ).toEqual([
      'welcome:2 duplicate_key',
      'welcome:3 unknown_key',
      'welcome:4 invalid_value',
      'welcome:6 missing_key',
      'welcome:7 unknown_helper',
      'welcome:8 duplicate_ref',
      'welcome:8 unknown_partial',
      'welcome:15 wrong_type',
      'welcome:16 file_not_found',
      'welcome:18 unknown_channel',
      'welcome:19 unknown_type',
    ])
  })

  test('of an environment whose shape is broken, and of the workflows beside it', () => {
    const environment = `ref: refs/heads/main
timezone: Europe/Berlim
locale: 5
variables: {a: 1, b: {value: 2}}
channels:
  Feed: {type: in_app, provider: in_app}
  mail: {type: email, provider: smpt}
  hook:
    type: webhook
    provider: webhook
    conditions: {all: [{variable: data.a, operator: is_timestamp_before, argument: soon}]}
`
    expect(
      codesOf({
        'environments/production.yaml': environment,
        'environments/staging.yaml': 'channels: [\n',
        'workflows/first/workflow.yaml': inApp('"{{uper data.a}}"'),
        'workflows/second/workflow.yaml': 'name: [\n',
      }),
    ).toEqual([
      'environments:1 invalid_value',
      'environments:2 unknown_timezone',
      'environments:3 wrong_type',
      'environments:4 wrong_type',
      'environments:6 invalid_key',
      'environments:7 unknown_provider',
      'environments:11 invalid_argument',
      'environments:1 invalid_yaml',
      'first:5 unknown_helper',
      'second:1 invalid_yaml',
    ])
  })
})

/** The diagnostics of files whose environment has these preferences. */
function found(preferences: string): readonly string[] {
  const files = entriesOf(withPreferences(preferences))
  return validateFiles(files, options).diagnostics.map(
    ({ line, column, code, severity, hint }) => `${line}:${column} ${code} ${severity} ${hint}`,
  )
}

function withPreferences(preferences: string): Readonly<Record<string, string>> {
  return {
    'workflows/welcome/workflow.yaml': `categories: [news]\n${inApp('Hello')}`,
    'environments/production.yaml': `channels: {feed: {type: in_app, provider: in_app}}\npreferences: ${preferences}\n`,
  }
}

test('warns of preferences for what no workflow is or has', () => {
  expect(found('{workflows: {welcome: false}, categories: {news: false}}')).toEqual([])
  expect(found('{workflows: {welcom: false}, categories: {News: false}}')).toEqual([
    '2:35 unknown_workflow warning did you mean "welcome"?',
    '2:62 unknown_category warning did you mean "news"?',
  ])
})
