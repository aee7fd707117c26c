import { providerList } from '../../src/channels/index.ts'
import { describe, expect, test } from 'vitest'
import { readDirectory } from '../../src/workflow/directory.ts'
import { linkVersion } from '../../src/workflow/link.ts'
import { previewSettings } from '../../src/workflow/preview-settings.ts'
import { previewWorkflow } from '../../src/workflow/preview.ts'
import { samplesOf } from '../../src/workflow/sample.ts'
import { parseSharedParts } from '../../src/workflow/shared.ts'
import { parseWorkflowDirectory } from '../../src/workflow/snapshot.ts'
import { sortFiles } from '../../src/workflow/tree.ts'
import { validateFiles } from '../../src/workflow/validate.ts'
import { entriesOf } from './files.ts'

const files = await readDirectory('.')
const tree = sortFiles(files)
const shared = parseSharedParts(tree.shared)
const settings = previewSettings(tree.environments, providerList)
const now = new Date('2026-03-02T12:00:00Z')

test('there are at least eight, and nothing is wrong with them', () => {
  expect(tree.workflows.size).toBeGreaterThanOrEqual(8)
  expect(validateFiles(files, { providers: providerList, strict: true }).diagnostics).toEqual([])
})

describe.each([...tree.workflows])('%s', (key, entries) => {
  const linked = linkVersion(parseWorkflowDirectory(key, entries), shared)
  if (linked.kind === 'invalid') throw new Error(JSON.stringify(linked.diagnostics))
  const { version } = linked
  const samples = samplesOf(version)

  test('has a sample', () => {
    expect(samples.length).toBeGreaterThan(0)
  })

  test.each(samples.map(({ sample }) => [sample.name, sample] as const))(
    'shows all that it sends with the sample %s',
    (_, sample) => {
      const { messages } = previewWorkflow({ version, settings, sample, now })
      expect(messages.length).toBeGreaterThan(0)
      for (const { content, channel, diagnostics } of messages) {
        expect(diagnostics).toEqual([])
        expect(channel.key).not.toBeNull()
        expect(JSON.stringify(content)).not.toMatch(/\{\{|undefined|\[object|[\ue000-\uf8ff]|<mj-/)
      }
    },
  )
})

function problemsOf(
  body: string,
  layouts: Readonly<Record<string, string>>,
  layout = '',
): readonly string[] {
  const own = entriesOf({
    'workflows/w1/workflow.yaml': `name: W\nsteps:\n  - ref: mail\n    type: email\n    subject: S\n    html: {file: mail.mjml.hbs}\n${layout}`,
    'workflows/w1/mail.mjml.hbs': body,
  })
  const parts = entriesOf(
    Object.fromEntries(
      Object.entries(layouts).map(([name, text]) => [`workflows/_layouts/${name}`, text]),
    ),
  )
  return linkVersion(parseWorkflowDirectory('w1', own), parseSharedParts(parts)).diagnostics.map(
    ({ path, line, column, code }) => `${path.replace('workflows/', '')}:${line}:${column} ${code}`,
  )
}

describe('MJML and layouts', () => {
  const LETTER = '<mjml><mj-body>{{{content}}}</mj-body></mjml>'
  const PAGE = '<html><body>{{{content}}}</body></html>'
  const SECTION = '<mj-section>\n<mj-column><mj-text>{{data.x}}</mj-text></mj-column></mj-section>'

  test.each([
    ['a part in a layout of MJML', SECTION, { 'default.mjml.hbs': LETTER }, '', []],
    ['a part beside a default layout of HTML', SECTION, { 'default.html.hbs': PAGE }, '', []],
    [
      'a part in a layout of HTML that is named',
      SECTION,
      { 'page.html.hbs': PAGE },
      '    layout: page\n',
      ['w1/workflow.yaml:7:13 mjml_in_layout'],
    ],
    [
      'a whole mail in a layout that is named',
      `<mjml><mj-body>${SECTION}</mj-body></mjml>`,
      { 'page.mjml.hbs': LETTER },
      '    layout: page\n',
      ['w1/workflow.yaml:7:13 mjml_in_layout'],
    ],
    [
      'an unknown element',
      SECTION.replace('mj-column', 'mj-colum').replace('/mj-column', '/mj-colum'),
      {},
      '',
      ['w1/mail.mjml.hbs:2:1 invalid_mjml'],
    ],
    [
      'an unknown element of a layout',
      SECTION,
      { 'default.mjml.hbs': '<mjml><mj-body><mj-foo/>{{{content}}}</mj-body></mjml>' },
      '',
      ['_layouts/default.mjml.hbs:1:1 invalid_mjml'],
    ],
    [
      'what only the layout makes wrong',
      '<mj-raw>x</mj-raw><mj-section></mj-section>',
      {
        'default.mjml.hbs':
          '<mjml><mj-body><mj-section>{{{content}}}</mj-section></mj-body></mjml>',
      },
      '',
      ['w1/workflow.yaml:3:5 invalid_mjml'],
    ],
    [
      'a layout without content',
      SECTION,
      { 'default.mjml.hbs': '<mjml><mj-body></mj-body></mjml>' },
      '',
      ['_layouts/default.mjml.hbs:1:1 layout_without_content'],
    ],
  ] as const)('%s', (...[, body, layouts, layout, expected]) => {
    expect(problemsOf(body, layouts, layout)).toEqual(expected)
  })
})
