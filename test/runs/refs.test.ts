import { expect } from 'vitest'
import { test } from '../support/database.ts'
import { openEngine } from '../support/engine.ts'

const TEXTS = [
  '{{json refs}}',
  "{{#with (lookup refs 'feed')}}{{delivery_status}}{{/with}}",
  '{{json @root}}',
  '{{json this}}',
  '{{json .}}',
]

test('a template sees behind a wait how a message fared, however it names it', async ({
  database,
}) => {
  await using engine = await openEngine(database)
  for (const [index, text] of TEXTS.entries()) {
    await engine.commit({
      [`workflows/w${index}/workflow.yaml`]: `name: W
steps:
  - { ref: feed, type: in_app, body: x }
  - { ref: pause, type: delay, for: 1h }
  - { ref: again, type: in_app, body: "${text}" }
`,
    })
    await engine.trigger(`w${index}`, { recipients: [{ id: 'ada' }] })
  }
  await engine.drain()
  engine.clock.advance(3_600_000)
  await engine.drain()
  const again = (await engine.messages()).filter(({ step_ref }) => step_ref === 'again')
  const shown = again.map(({ content }) => JSON.stringify(content).includes('delivered'))
  expect(shown).toEqual(TEXTS.map(() => true))
})
