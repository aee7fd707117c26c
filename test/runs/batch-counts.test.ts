import fc from 'fast-check'
import { expect } from 'vitest'
import { cancelByKey } from '../../src/runs/cancel.ts'
import type { WorkflowKey } from '../../src/ids.ts'
import type { Engine } from '../support/engine.ts'
import { MINUTE_MS, environment, test, texts } from './batch-scene.ts'

const kinds = {
  fixed: 'window: 10m',
  sliding: 'window: 10m, window_type: sliding, extension_limit: 25m',
  shrinking: 'window: data.window, window_type: sliding, extension_limit: 30m',
  full: 'window: 10m, max_items: 3',
  leading: 'window: 10m, mode: flush_leading',
  everything:
    'window: data.window, window_type: sliding, extension_limit: 15m, mode: flush_leading, max_items: 4, key: data.page',
} as const

const workflows = Object.fromEntries(
  Object.entries(kinds).map(([kind, fields]) => [
    `workflows/${kind}/workflow.yaml`,
    `name: W
steps:
  - { ref: digest, type: batch, render_limit: 100, ${fields} }
  - { ref: feed, type: in_app, body: "{{total_activities}}/{{total_actors}}:{{#each activities}}{{n}}.{{actor.id}} {{/each}}" }
`,
  ]),
)

type Operation =
  | {
      readonly kind: 'arrive'
      readonly window: string
      readonly page: number | null
      readonly actor: string
    }
  | { readonly kind: 'work' }
  | { readonly kind: 'wait'; readonly minutes: number }
  | { readonly kind: 'cancel'; readonly of: number }

const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('arrive' as const),
      window: fc.constantFrom('1m', '8m', '20m', 'never'),
      page: fc.constantFrom(1, 2, null),
      actor: fc.constantFrom('u1', 'u2', 'u3'),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('work' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      minutes: fc.integer({ min: 1, max: 12 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('cancel' as const), of: fc.nat() }) },
)

interface Play {
  readonly kind: string
  readonly recipient: string
  readonly script: readonly Operation[]
}

/** Plays a script for a recipient of its own; answers the triggers that no cancel matched, and who caused each. */
async function play(
  engine: Engine,
  { kind, recipient, script }: Play,
): Promise<ReadonlyMap<number, string>> {
  const actors = new Map<number, string>()
  let triggers = 0
  for (const one of script) {
    if (one.kind === 'arrive') {
      const { window, page, actor } = one
      const n = (triggers += 1)
      actors.set(n, actor)
      await engine.trigger(kind, {
        recipients: [{ id: recipient }],
        actor: { id: actor },
        data: { n, window, page },
        cancellation_key: `${recipient}-${n}`,
      })
      continue
    }
    if (one.kind === 'wait') engine.clock.advance(one.minutes * MINUTE_MS)
    await engine.drain()
    if (one.kind !== 'cancel' || triggers === 0) continue
    const n = 1 + (one.of % triggers)
    if (await cancels(engine, kind, `${recipient}-${n}`)) expect(actors.delete(n)).toBe(true)
  }
  await engine.drain()
  engine.clock.advance(24 * 60 * MINUTE_MS)
  await engine.drain()
  return actors
}

/** Whether a cancel with this key matched a run. */
async function cancels(engine: Engine, workflow: string, key: string): Promise<boolean> {
  const { runs } = await engine.database.transaction((tx) =>
    cancelByKey(tx, engine.queue, {
      environment,
      workflow: workflow as WorkflowKey,
      cancellationKey: key,
      recipients: null,
      requestedBy: 'test',
      now: engine.clock.now(),
    }),
  )
  return runs > 0
}

/** The `number.actor` of the activities of one message, which counts them as they are, oldest first. */
function itemsOf(text: string): readonly string[] {
  const [totals = '', list = ''] = text.replaceAll('\\', '').split(':')
  const shown = list.trim().split(' ')
  const distinct = new Set(shown.map((item) => item.split('.')[1]))
  expect(totals).toBe(`${shown.length}/${distinct.size}`)
  const numbers = shown.map((item) => Number(item.split('.')[0]))
  expect(numbers).toEqual(numbers.toSorted((a, b) => a - b))
  return shown
}

test('what batches hold in all is what was triggered and not cancelled, each once', async ({
  engine,
}) => {
  await engine.commit(workflows)
  let played = 0
  let seen = 0
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...Object.keys(kinds)),
      fc.array(operation, { minLength: 4, maxLength: 24 }),
      async (kind, script) => {
        played += 1
        const expected = await play(engine, { kind, recipient: `r-${played}`, script })
        const all = await texts(engine)
        const items = all.slice(seen).flatMap(itemsOf)
        seen = all.length
        expect(items.toSorted()).toEqual([...expected].map(([n, by]) => `${n}.${by}`).toSorted())
        const open = (await engine.runs()).filter(({ outcome }) => outcome === null)
        expect(open).toEqual([])
      },
    ),
    { numRuns: 40 },
  )
}, 120_000)
