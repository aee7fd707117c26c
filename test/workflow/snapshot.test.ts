import { describe, expect, test } from 'vitest'
import { linkVersion } from '../../src/workflow/link.ts'
import { parseSharedParts } from '../../src/workflow/shared.ts'
import { parseWorkflowDirectory } from '../../src/workflow/snapshot.ts'
import type { Version } from '../../src/workflow/workflow.ts'
import { entriesOf, inApp, step, type Content } from './files.ts'

type Files = Readonly<Record<string, Content>>

const EMAIL = step('type: email', 'subject: Hello', 'html: {file: email.html.hbs}')
const LAYOUT = '<body>{{{content}}}{{> footer}}</body>'

/** The version of `workflows/welcome`, for a revision of these files. */
function versionOf(own: Files, shared: Files = {}): Version {
  const entries = entriesOf(
    Object.fromEntries(
      Object.entries(own).map(([name, text]) => [`workflows/welcome/${name}`, text]),
    ),
  )
  const parsed = parseWorkflowDirectory('welcome', entries)
  const linked = linkVersion(parsed, parseSharedParts(entriesOf(shared)))
  if (linked.kind === 'invalid') throw new Error(JSON.stringify(linked.diagnostics))
  return linked.version
}

describe('the id of a version', () => {
  const own = { 'workflow.yaml': inApp('"{{> button}}"') }
  const shared = {
    'workflows/_partials/button.hbs': '{{> icon}}',
    'workflows/_partials/icon.hbs': '*',
    'workflows/_partials/other.hbs': 'x',
  }

  test('is the same for the same content', () => {
    expect(versionOf(own, shared).id).toBe(versionOf({ ...own }, { ...shared }).id)
    expect(versionOf(own, shared).id).toMatch(/^[0-9a-f]{64}$/)
  })

  test('does not depend on the order of the files', () => {
    const more = { ...own, 'a.txt': 'a', 'b.txt': 'b' }
    const turned = Object.fromEntries(Object.entries(more).toReversed())
    expect(versionOf(turned, shared).id).toBe(versionOf(more, shared).id)
  })

  test.each(['button', 'icon'])('changes with the partial %s that it uses', (name) => {
    const changed = { ...shared, [`workflows/_partials/${name}.hbs`]: '{{> icon}}!' }
    expect(versionOf(own, { ...changed, 'workflows/_partials/icon.hbs': '+' }).id).not.toBe(
      versionOf(own, shared).id,
    )
  })

  test('does not change with a partial that it does not use', () => {
    const changed = { ...shared, 'workflows/_partials/other.hbs': 'y' }
    expect(versionOf(own, changed).id).toBe(versionOf(own, shared).id)
  })

  test('changes with every file of its directory', () => {
    expect(versionOf({ ...own, 'README.md': 'x' }, shared).id).not.toBe(versionOf(own, shared).id)
  })
})

describe('what a version holds', () => {
  const own = { 'workflow.yaml': EMAIL, 'email.html.hbs': '<p>{{vars.app_url}}</p>' }
  const shared = {
    'workflows/_layouts/default.html.hbs': LAYOUT,
    'workflows/_partials/footer.hbs': '{{vars.support}}',
  }

  test('is every template that it uses, by path', () => {
    expect(versionOf(own, shared).files).toEqual({
      'workflows/_layouts/default.html.hbs': LAYOUT,
      'workflows/_partials/footer.hbs': '{{vars.support}}',
      'workflows/welcome/email.html.hbs': '<p>{{vars.app_url}}</p>',
    })
  })

  test('is the blob id of each file, in the order of the paths', () => {
    expect(Object.keys(versionOf(own, shared).blobs)).toEqual([
      'workflows/_layouts/default.html.hbs',
      'workflows/_partials/footer.hbs',
      'workflows/welcome/email.html.hbs',
      'workflows/welcome/workflow.yaml',
    ])
  })

  test('is which variables it uses, and where', () => {
    expect(versionOf(own, shared).variableUses).toMatchObject([
      {
        name: 'app_url',
        secrets: false,
        path: 'workflows/welcome/email.html.hbs',
        line: 1,
        column: 6,
      },
      { name: 'support', path: 'workflows/_partials/footer.hbs', line: 1, column: 3 },
    ])
  })

  test('is which channels its steps need', () => {
    expect(versionOf(own, shared).channelUses).toEqual([
      {
        ref: 'first',
        type: 'email',
        channel: null,
        path: 'workflows/welcome/workflow.yaml',
        line: 3,
        column: 5,
      },
    ])
  })

  test('is no layout where the step wants none', () => {
    const plain = { ...own, 'workflow.yaml': `${EMAIL}    layout: none\n` }
    expect(Object.keys(versionOf(plain, shared).files)).toEqual([
      'workflows/welcome/email.html.hbs',
    ])
  })

  test('is no layout where there is no default one', () => {
    expect(Object.keys(versionOf(own).files)).toEqual(['workflows/welcome/email.html.hbs'])
  })

  test('is the data schema, in the place of its file', () => {
    const workflow = `trigger: {data_schema: {file: data.yaml}}\n${inApp('x')}`
    const version = versionOf({ 'workflow.yaml': workflow, 'data.yaml': 'type: object\n' })
    expect(version.workflow.trigger).toEqual({ data_schema: { type: 'object' } })
  })

  test('is a shared file that a step names', () => {
    const named = { 'workflow.yaml': inApp('{file: _partials/feed.hbs}') }
    const parts = { 'workflows/_partials/feed.hbs': 'x' }
    expect(versionOf(named, parts).files).toEqual(parts)
  })
})

test('a workflow can be written as JSON', () => {
  const workflow = { name: 'W', steps: [{ ref: 'feed', type: 'in_app', body: 'x' }] }
  expect(versionOf({ 'workflow.json': JSON.stringify(workflow) }).workflow).toEqual(workflow)
})

test('a byte order mark at the start and CRLF line ends do no harm', () => {
  const text = `\ufeff${inApp('|\n      one\n      two')}`.replaceAll('\n', '\r\n')
  const { workflow } = versionOf({ 'workflow.yaml': text })
  expect(workflow.steps[0]).toMatchObject({ body: 'one\ntwo\n' })
})

test('steps in branches are steps like any other', () => {
  const workflow = `name: W
steps:
  - ref: which
    type: branch
    branches:
      - name: A
        conditions: {all: [{variable: vars.flag, operator: equal_to, argument: true}]}
        steps: [{ref: inner, type: in_app, body: "{{vars.inner}}", channel: feed}]
      - name: B
        steps: []
`
  const { channelUses, variableUses } = versionOf({ 'workflow.yaml': workflow })
  expect(channelUses).toMatchObject([{ ref: 'inner', channel: 'feed', line: 8 }])
  expect(variableUses.map(({ name, line }) => [name, line])).toEqual([
    ['flag', 7],
    ['inner', 8],
  ])
})

test('a parsed directory is plain data, so that many can be kept', () => {
  const entries = entriesOf({ 'workflows/welcome/workflow.yaml': inApp('"{{> a}}"') })
  const parsed = parseWorkflowDirectory('welcome', entries)
  expect(structuredClone(parsed)).toEqual(parsed)
})
