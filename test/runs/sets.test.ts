import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import type { EnvironmentName, WorkflowKey } from '../../src/ids.ts'
import { cancelByKey } from '../../src/runs/cancel.ts'
import { openRetention } from '../../src/runs/retention.ts'
import { listStepTypes } from '../../src/steps/index.ts'
import { counted } from '../support/counted.ts'
import { cloneBlank } from '../support/database.ts'
import { openEngine, plainEnvironment, type Engine } from '../support/engine.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const environment = 'production' as EnvironmentName

/** A workflow for as many recipients as the test says, on its way. */
interface Scene {
  /** Triggers for all of them, and works until nothing is due. */
  readonly send: (cancellationKey?: string) => Promise<void>
  readonly trigger: (cancellationKey?: string) => Promise<void>
  readonly cancel: (cancellationKey: string) => Promise<void>
  readonly switchTo: (active: boolean) => Promise<void>
  /** Lets an hour pass, and works until nothing is due. */
  readonly later: () => Promise<void>
}

interface Case {
  readonly steps: string
  /** More of the workflow. */
  readonly more?: string
  /** What is done with it; where nothing is said, one trigger, and an hour later. */
  readonly play?: (scene: Scene) => Promise<void>
}

const feed = '  - { ref: feed, type: in_app, body: "{{recipient.n}} {{total_activities}}" }'
const asleep = `  - { ref: rest, type: delay, for: 1h }\n${feed}`
const batch = (fields: string) => `  - { ref: digest, type: batch, ${fields} }\n${feed}`
const child = (ref: string) => `steps: [{ ref: ${ref}, type: in_app, body: x }]`

const twice = async ({ send, later }: Scene) => {
  await send()
  await send()
  await later()
}
const thrice = async (scene: Scene) => {
  await scene.send()
  await twice(scene)
}

/** Types of steps that sets-asking.test.ts counts: somebody has to answer the first, and each of the second is a trigger of its own. */
const ELSEWHERE: ReadonlySet<string> = new Set(['fetch', 'trigger_workflow'])

/** Each type of step, and each way that a run can take through it. Every other type has to be among them. */
const CASES: Readonly<Record<string, Case>> = {
  'feed items': { steps: feed },
  mails: {
    steps:
      '  - { ref: mail, type: email, to: a@example.com, subject: s, markdown: "{{actor.id}}" }',
  },
  webhooks: {
    steps: '  - { ref: call, type: webhook, url: "https://example.com/{{recipient.id}}" }',
  },
  'text messages': { steps: '  - { ref: text, type: sms, to: "+4915100000001", body: x }' },
  'text messages whose links are counted': {
    steps:
      '  - { ref: text, type: sms, to: "+4915100000001", body: "https://example.com/{{recipient.id}}", tracking: { links: true } }',
  },
  'messages to devices and connections': {
    steps:
      '  - { ref: ping, type: push, title: t, body: x }\n  - { ref: talk, type: chat, markdown: x }',
  },
  'what waits and is woken': { steps: asleep },
  'skipped steps': {
    more: 'conditions: { all: [{ variable: recipient.n, operator: exists }] }\n',
    steps:
      '  - { ref: feed, type: in_app, body: x, conditions: { all: [{ variable: recipient.no, operator: exists }] } }',
  },
  'statuses of earlier messages': {
    steps: `  - { ref: first, type: in_app, body: x }
  - { ref: rest, type: delay, for: 1h }
  - { ref: again, type: in_app, body: x, conditions: { all: [{ variable: refs.first.delivery_status, operator: equal_to, argument: $message.delivered }] } }`,
  },
  branches: {
    steps: `  - ref: fork
    type: branch
    branches:
      - { name: odd, conditions: { all: [{ variable: recipient.n, operator: equal_to, argument: 1 }] }, ${child('odd')} }
      - { name: default, ${child('even')} }`,
  },
  cohorts: {
    steps: `  - { ref: trial, type: cohort, cohorts: [{ name: a, percentage: 50, ${child('one')} }, { name: b, percentage: 50, ${child('two')} }] }`,
  },
  'throttles, open and closed': {
    steps: `  - { ref: calm, type: throttle, window: 2h, limit: 1 }\n${feed}`,
    play: twice,
  },
  'throttles, one behind another': {
    steps: `  - { ref: calm, type: throttle, window: 2h }
  - { ref: calmer, type: throttle, window: 3h, key: recipient.id }\n${feed}`,
    play: twice,
  },
  'updates of recipients': {
    steps:
      '  - { ref: note, type: update_recipient, properties: { count: "{{recipient.n}}" } }\n' +
      feed,
  },
  'updates of objects': {
    steps:
      '  - { ref: page, type: update_object, collection: pages, id: "{{recipient.id}}", properties: { n: 1 } }',
  },
  'updates of the tenant': {
    steps: '  - { ref: firm, type: update_tenant, properties: { last: "{{recipient.id}}" } }',
  },
  'updates of data': {
    steps: '  - { ref: data, type: update_data, properties: { n: "{{recipient.n}}" } }\n' + feed,
  },
  'batches that are opened, joined and closed': { steps: batch('window: 1h'), play: thrice },
  'batches with a key and a window that slides': {
    steps: batch('window: 30m, key: recipient.id, window_type: sliding, extension_limit: 1h'),
    play: thrice,
  },
  'batches that let the first one through': {
    steps: batch('window: 1h, mode: flush_leading'),
    play: thrice,
  },
  'batches that are full': { steps: batch('window: 2h, max_items: 2'), play: twice },
  'batches that stay with their version': {
    steps: batch('window: 1h, version: pinned'),
    play: twice,
  },
  'batches, one behind another, that are shown later': {
    steps: `  - { ref: first, type: batch, window: 10m, key: data.n }
  - { ref: second, type: batch, window: 1h }
${asleep}`,
    play: async ({ send, later }) => {
      await send()
      await send()
      for (let hour = 0; hour < 3; hour += 1) await later()
    },
  },
  'waits for what happens, and for its time to be over': {
    steps:
      '  - { ref: wait, type: wait_for_event, event: message.read, expires_after: 1h, on_timeout: continue, match: { all: [{ variable: event.n, operator: equal_to, argument: 1 }] } }\n' +
      feed,
  },
  'recipients who have had it': {
    more: 'trigger: { frequency: once_per_recipient }\n',
    steps: feed,
    play: twice,
  },
  'runs that are cancelled in their sleep': {
    steps: asleep,
    play: async ({ send, cancel, later }) => {
      await send('k')
      await cancel('k')
      await later()
    },
  },
  'runs that are cancelled before they begin': {
    steps: feed,
    play: async ({ trigger, cancel, later }) => {
      await trigger('k')
      await cancel('k')
      await later()
    },
  },
  'activities that are cancelled, the last one too': {
    steps: batch('window: 1h'),
    play: async ({ send, cancel, later }) => {
      await send('first')
      await send('second')
      await cancel('first')
      await cancel('second')
      await later()
    },
  },
  'runs that wake when their workflow is switched off': {
    steps: asleep,
    play: async ({ send, switchTo, later }) => {
      await send()
      await switchTo(false)
      await later()
      await switchTo(true)
    },
  },
}

const names = Object.keys(CASES)
const keyOf = (name: string) => `w${names.indexOf(name)}`

let stack: AsyncDisposableStack
let engine: Engine
let count: () => number

beforeAll(async () => {
  await using opening = new AsyncDisposableStack()
  const clone = await cloneBlank()
  opening.defer(() => clone.drop())
  const watched: { database: Database; count: () => number } = counted(clone.database)
  count = watched.count
  const channels = `  hook: { type: webhook, provider: webhook, sandbox: true }
  sms: { type: sms, provider: twilio, sandbox: true, settings: { account_sid: AC0123456789, auth_token: not-a-real-token, from: "+4915100000000" } }
  push: { type: push, provider: expo, sandbox: true }
  chat: { type: chat, provider: discord, sandbox: true, settings: { bot_token: not-a-real-token } }
`
  engine = opening.use(
    await openEngine(watched.database, {
      environments: { production: `ref: main\n${plainEnvironment}${channels}` },
      links: { publicUrl: 'https://belfry.example.com', key: Buffer.alloc(32) },
    }),
  )
  const files = Object.entries(CASES).map(([name, { steps, more = '' }]) => [
    `workflows/${keyOf(name)}/workflow.yaml`,
    `name: W\n${more}steps:\n${steps}\n`,
  ])
  await engine.commit(Object.fromEntries(files) as Record<string, string>)
  stack = opening.move()
})
afterAll(() => stack.disposeAsync())

/** How many statements it takes to do this. */
async function statements(work: () => Promise<void>): Promise<number> {
  const before = count()
  await work()
  return count() - before
}

describe('the number of statements is the same for one run, for 20 and for 200:', () => {
  test.for(names)('%s', async (name) => {
    const { play } = CASES[name]!
    const played = (recipients: number) =>
      statements(async () => {
        const scene = aScene(name, recipients)
        if (play) return await play(scene)
        await scene.send()
        await scene.later()
      })
    // The first one fills the caches of the process.
    await played(2)
    const one = await played(1)
    expect({ one, twenty: await played(20) }).toEqual({ one, twenty: one })
    expect({ one, many: await played(200) }).toEqual({ one, many: one })
    const ways = await engine.database.query<{ outcome: string | null }>(sql`
      select outcome from runs where environment = ${environment} and workflow = ${keyOf(name)}`)
    expect(ways.length).toBeGreaterThanOrEqual(223)
    expect(ways.filter(({ outcome }) => outcome === null || outcome === 'failed')).toEqual([])
  })

  test('what ended long ago and is deleted', async () => {
    const retention = openRetention(engine.database, 30)
    const emptied = async () => {
      engine.clock.advance(31 * DAY_MS)
      for (let turn = 0; turn < 200; turn += 1) await retention.turn(engine.clock.now())
    }
    await emptied()
    expect(await engine.runs()).toEqual([])
    const deleted = async (recipients: number) => {
      await thrice(aScene('batches that are opened, joined and closed', recipients))
      return await statements(emptied)
    }
    const one = await deleted(1)
    expect({ one, twenty: await deleted(20) }).toEqual({ one, twenty: one })
    // As many as one page holds.
    expect({ one, many: await deleted(160) }).toEqual({ one, many: one })
    expect(await engine.runs()).toEqual([])
  })
})

test('every type of step is among them', () => {
  const steps = Object.values(CASES).map((one) => one.steps)
  const missing = listStepTypes()
    .map(({ type }) => type)
    .filter(
      (type) =>
        !ELSEWHERE.has(type) && !steps.some((text) => new RegExp(`type: ${type}\\b`).test(text)),
    )
  expect(missing).toEqual([])
})

function aScene(name: string, size: number): Scene {
  const workflow = keyOf(name) as WorkflowKey
  const recipients = Array.from({ length: size }, (_, index) => ({
    id: `${workflow}-${size}-${index}`,
    n: index % 2,
    preferences: { default: { channel_types: { email: true } } },
    channel_data: { push: { tokens: ['a', 'b'] }, chat: { connections: [{ channel_id: 'c' }] } },
  }))
  const trigger: Scene['trigger'] = async (key) =>
    void (await engine.trigger(workflow, {
      recipients,
      actor: recipients[0],
      tenant: { id: 'acme' },
      data: { n: 1 },
      ...(key !== undefined && { cancellation_key: `${workflow}-${size}-${key}` }),
    }))
  return {
    trigger,
    async send(key) {
      await trigger(key)
      await engine.drain()
    },
    cancel: async (key) =>
      void (await engine.database.transaction((tx) =>
        cancelByKey(tx, engine.queue, {
          environment,
          workflow,
          cancellationKey: `${workflow}-${size}-${key}`,
          recipients: null,
          requestedBy: 'test',
          now: engine.clock.now(),
        }),
      )),
    switchTo: (active) => engine.switchTo(active, workflow),
    async later() {
      engine.clock.advance(HOUR_MS)
      await engine.drain()
    },
  }
}
