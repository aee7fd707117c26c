import { describe, expect, test } from 'vitest'
import { linkVersion } from '../../src/workflow/link.ts'
import { readLocales } from '../../src/workflow/locales.ts'
import { parseSharedParts } from '../../src/workflow/shared.ts'
import { parseWorkflowDirectory } from '../../src/workflow/snapshot.ts'
import { entriesOf, inApp } from './files.ts'

const EN = 'hello: Hello {{name}}\nmail:\n  pages: { one: a page, other: "{{count}} pages" }\n'

function link(body: string, shared: Readonly<Record<string, string>>) {
  const own = entriesOf({ 'workflows/welcome/workflow.yaml': inApp(body) })
  const all = Object.fromEntries(
    Object.entries(shared).map(([name, text]) => [`workflows/${name}`, text]),
  )
  return linkVersion(parseWorkflowDirectory('welcome', own), parseSharedParts(entriesOf(all)))
}

const problemsOf = (body: string, shared: Readonly<Record<string, string>>) =>
  link(body, shared).diagnostics.map(
    ({ path, line, column, code }) => `${path}:${line}:${column} ${code}`,
  )

describe('locales', () => {
  const shared = { '_locales/en.yaml': EN, '_locales/de-AT.json': '{"hello": "Servus"}' }

  test('all of them belong to a version that uses a text', () => {
    const linked = link(`'{{t "hello" name=recipient.name}}'`, shared)
    if (linked.kind === 'invalid') throw new Error(JSON.stringify(linked.diagnostics))
    const paths = ['workflows/_locales/de-AT.json', 'workflows/_locales/en.yaml']
    expect(Object.keys(linked.version.blobs)).toEqual(expect.arrayContaining(paths))
    expect(
      readLocales(linked.version.files).map(({ locale, texts }) => [locale, [...texts.keys()]]),
    ).toEqual([
      ['de-AT', ['hello']],
      ['en', ['hello', 'mail.pages']],
    ])
    const other = link(`'{{t "hello" name=recipient.name}}'`, {
      ...shared,
      '_locales/fr.yaml': 'hello: Bonjour',
    })
    expect(other.kind === 'version' && other.version.id).not.toBe(linked.version.id)
  })

  test('a text in a partial counts too, and without a text no locale does', () => {
    const partial = { ...shared, '_partials/head.hbs': '{{t "hello"}}' }
    const linked = link(`'{{> head}}'`, partial)
    expect(linked.kind === 'version' && Object.keys(linked.version.blobs)).toContain(
      'workflows/_locales/en.yaml',
    )
    const without = link('Hello', { ...shared, '_locales/broken.en.yaml': ':' })
    expect(without.kind === 'version' && Object.keys(without.version.blobs)).toEqual([
      'workflows/welcome/workflow.yaml',
    ])
  })

  test('tenants and namespaces are told by the path', () => {
    const linked = link(`'{{t "mail:title"}}'`, {
      '_locales/mail.en.yaml': 'title: Hi',
      '_locales/tenants/acme/mail.en.yaml': 'title: Hi from Acme',
    })
    if (linked.kind === 'invalid') throw new Error(JSON.stringify(linked.diagnostics))
    expect(
      readLocales(linked.version.files).map(({ tenant, texts }) => [tenant, [...texts]]),
    ).toEqual([
      [null, [['mail:title', 'Hi']]],
      ['acme', [['mail:title', 'Hi from Acme']]],
    ])
  })

  test.each([
    [
      'a key that no file has',
      { '_locales/en.yaml': 'helo: x' },
      'workflows/welcome/workflow.yaml:5:16 unknown_translation',
    ],
    ['no files at all', {}, 'workflows/welcome/workflow.yaml:5:16 unknown_translation'],
    [
      'a file of no language',
      { '_locales/en.yaml': EN, '_locales/a/b/c.yaml': EN },
      'workflows/_locales/a/b/c.yaml:1:1 invalid_locale_file',
    ],
    [
      'a text that is a list',
      { '_locales/en.yaml': `${EN}x:\n  - a\n` },
      'workflows/_locales/en.yaml:5:3 invalid_translation',
    ],
    [
      'a template for a text',
      { '_locales/en.yaml': 'hello: "{{#if x}}"' },
      'workflows/_locales/en.yaml:1:8 invalid_translation',
    ],
    [
      'a plural form that is a map',
      { '_locales/en.yaml': 'hello: { one: {a: b}, other: c }' },
      'workflows/_locales/en.yaml:1:8 invalid_translation',
    ],
    [
      'a file that is no YAML',
      { '_locales/en.yaml': EN, '_locales/de.yaml': 'a: "' },
      'workflows/_locales/de.yaml:1:5 invalid_yaml',
    ],
  ])('%s is told, with its place', (_, files, expected) => {
    expect(problemsOf(`'{{t "hello"}}'`, files as Readonly<Record<string, string>>)).toEqual([
      expected,
    ])
  })
})

test('a secret on which a helper works is refused', () => {
  const workflow = [
    'name: Hook',
    'steps:',
    '  - ref: hook',
    '    type: webhook',
    '    url: https://example.com',
    '    headers: { A: "{{vars.token}}", B: \'{{default vars.token "x"}}\', C: "{{upper vars.token}}" }',
  ].join('\n')
  const own = entriesOf({ 'workflows/hook/workflow.yaml': workflow })
  const linked = linkVersion(parseWorkflowDirectory('hook', own), parseSharedParts(new Map()))
  if (linked.kind === 'invalid') throw new Error(JSON.stringify(linked.diagnostics))
  expect(linked.version.variableUses.map(({ secrets }) => secrets)).toEqual([true, true, false])
})
