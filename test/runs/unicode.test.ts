import fc from 'fast-check'
import { expect } from 'vitest'
import type { EnvironmentName, WorkflowKey } from '../../src/ids.ts'
import { cancelByKey } from '../../src/runs/cancel.ts'
import { test } from '../support/database.ts'
import { openEngine } from '../support/engine.ts'

const SEED = 7
const TEXTS = 60

const files = {
  'workflows/hello/workflow.yaml': `name: Hello
steps:
  - { ref: bucket, type: cohort, key: data.text, cohorts: [{ name: all, percentage: 100, steps: [] }] }
  - { ref: calm, type: throttle, key: data.text, window: 1h }
  - { ref: digest, type: batch, key: data.text, window: 10m }
  - { ref: hook, type: webhook, url: "https://example.com/{{data.text}}", body: { text: "{{data.text}}", whole: "<{{data.text}}>", name: "{{recipient.name}}", all: "{{data}}" } }
  - { ref: rest, type: delay, for: 1h }
`,
}
const production = `ref: main
channels: { hook: { type: webhook, provider: webhook, sandbox: true } }
`

/** Texts that others have broken over, and many more by chance: any character but those that Postgres cannot hold. */
function texts(): readonly string[] {
  const known = [
    'e\u0301 \u00e9 \u1e9e \u0130 \ufb03',
    '👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 👍🏽',
    'שלום \u202eevil\u202c مرحبا \u2066x\u2069',
    '\ufeff\u200b\u200d\u00ad\u2028\u2029\u0085',
    '\uffff\ufffe\u{10ffff}\u{1fffe}\ufffd',
    'Z\u0351\u036b\u0343\u036a\u0302a\u0321\u034al\u0315g\u0334o\u0325',
    '\u0001\u0007\u001b[31m\u007f\u009b\t\r\n',
    '%00 \\u0000 \\x00 &#0; \'"`$();{}[]|\\',
    '漢字 ㍿ ｆｕｌｌ ￥ ﷽ 𒐫',
    '__proto__',
    '\u{e0067}\u{e0062}\u{f0000}\u{e000}',
  ]
  const any = fc.string({ unit: 'binary', minLength: 1, maxLength: 60 })
  const kept = any.map((text) => text.replaceAll('\0', '')).filter((text) => text !== '')
  return [...new Set([...known, ...fc.sample(kept, { numRuns: TEXTS, seed: SEED })])]
}

test('a text of any script comes through every step as it was', async ({ database }) => {
  await using engine = await openEngine(database, { environments: { production } })
  await engine.commit(files)
  const all = texts()
  const recipients = all.map((text, index) => ({
    id: `u${index}`,
    name: text,
    $trigger_data: { text, [`key ${text}`]: { [text]: [text] } },
  }))
  const body = { recipients, cancellation_key: all[1], data: { shared: all.join('') } }
  await engine.trigger('hello', body)
  await engine.drain()
  engine.clock.advance(600_000)
  await engine.drain()
  const messages = new Map((await engine.messages()).map((one) => [one.recipient, one]))
  for (const [index, text] of all.entries()) {
    const { url, body: sent } = messages.get(`u${index}`)!.content as { url: string; body: unknown }
    // Behind a batch only what is no list or map is left of the data.
    const data = { text, shared: all.join('') }
    expect.soft(sent).toEqual({ text, whole: `<${text}>`, name: text, all: data })
    expect.soft(decodeURIComponent(new URL(url).pathname.slice(1))).toBe(text)
  }
  const cancelled = await database.transaction((tx) =>
    cancelByKey(tx, engine.queue, {
      environment: 'production' as EnvironmentName,
      workflow: 'hello' as WorkflowKey,
      cancellationKey: all[1]!,
      recipients: null,
      requestedBy: 'test',
      now: engine.clock.now(),
    }),
  )
  expect(cancelled.runs).toBe(all.length)
})
