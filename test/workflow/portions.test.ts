import { expect, test } from 'vitest'
import { linkPortions } from '../../src/workflow/link.ts'
import { weightOfMjml, weightOfYaml } from '../../src/workflow/portions.ts'
import { parseSharedParts } from '../../src/workflow/shared.ts'
import { parseWorkflowDirectory } from '../../src/workflow/snapshot.ts'
import { entriesOf } from './files.ts'

const LAYOUT = '<mjml><mj-body>{{{content}}}</mj-body></mjml>'
const EN = 'hello: Hello\n'
const WORKFLOW = `name: Welcome
steps:
  - { ref: one, type: email, layout: frame, subject: "{{t \\"hello\\"}}", html: "<p>{{data.a}}</p>" }
  - { ref: two, type: email, layout: frame, subject: s, html: "<p>two</p>" }
`

test('each file of texts, and each mail that is compiled with its layout, is a portion of its weight', () => {
  const own = entriesOf({ 'workflows/welcome/workflow.yaml': WORKFLOW })
  const shared = parseSharedParts(
    entriesOf({
      'workflows/_layouts/frame.mjml.hbs': LAYOUT,
      'workflows/_locales/en.yaml': EN,
      'workflows/_locales/de.yaml': EN,
    }),
  )
  const parsed = parseWorkflowDirectory('welcome', own)
  const ofTexts = weightOfYaml(EN.length)
  const ofMails = ['<p>{{data.a}}</p>', '<p>two</p>'].map(
    (body) => weightOfMjml(LAYOUT) + weightOfMjml(body),
  )
  const first = [...linkPortions(parsed, shared)]
  expect(first).toEqual([weightOfMjml(LAYOUT), ofTexts, ofTexts, ...ofMails])
  // Shared parts are looked at once.
  expect([...linkPortions(parsed, shared)]).toEqual(ofMails)
})
