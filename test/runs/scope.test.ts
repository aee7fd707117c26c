import { expect } from 'vitest'
import { test } from '../support/database.ts'
import { openEngine } from '../support/engine.ts'

const production = `ref: main
timezone: Europe/Berlin
locale: de
variables: { app_url: { value: https://app.example.com }, token: { secret: TOKEN } }
channels:
  feed: { type: in_app, provider: in_app }
  hook: { type: webhook, provider: webhook, sandbox: true }
`
const names = ['data', 'recipient', 'actor', 'tenant', 'workflow', 'run', 'refs', 'event']
const others = ['actors', 'activities', 'total_activities', 'total_actors', 'timestamp', 'timezone']

const workflow = `name: Hello
categories: [news]
commercial: true
steps:
  - { ref: feed, type: in_app, body: x }
  - ref: hook
    type: webhook
    url: https://example.com
    body: { app_url: "{{vars.app_url}}", locale: "{{locale}}", ${[...names, ...others].map((name) => `${name}: "{{${name}}}"`).join(', ')} }
`

test('a template names all that is known of a run', async ({ database }) => {
  await using engine = await openEngine(database, {
    environments: { production },
    secrets: { 'production/TOKEN': 'hush' },
  })
  await engine.commit({ 'workflows/hello/workflow.yaml': workflow })
  await engine.trigger('hello', {
    recipients: [{ id: 'ada', name: 'Ada', timezone: 'Asia/Tokyo', $trigger_data: { page: 8 } }],
    actor: { id: 'bob', name: 'Bob' },
    tenant: { id: 'acme', plan: 'pro' },
    data: { page: 7, list: [1] },
    cancellation_key: 'page-7',
  })
  await engine.drain()
  const hook = (await engine.messages()).find(({ step_ref: ref }) => ref === 'hook')
  const [run] = await engine.runs()
  const ada = { id: 'ada', name: 'Ada', timezone: 'Asia/Tokyo' }
  const bob = { id: 'bob', name: 'Bob' }
  const data = { page: 8, list: [1] }
  expect(hook!.content['body']).toEqual({
    app_url: 'https://app.example.com',
    locale: 'de',
    data,
    recipient: expect.objectContaining(ada),
    actor: expect.objectContaining(bob),
    tenant: expect.objectContaining({ id: 'acme', plan: 'pro' }),
    workflow: {
      id: 'hello',
      key: 'hello',
      name: 'Hello',
      categories: ['news'],
      commercial: true,
      override_preferences: false,
      cancellation_key: 'page-7',
    },
    run: { id: run!.id, total_activities: 1, total_actors: 1 },
    refs: {
      feed: { delivery_status: 'delivered', engagement_status: [] },
      hook: { delivery_status: 'skipped', engagement_status: [] },
    },
    event: null,
    actors: [expect.objectContaining(bob)],
    activities: [
      {
        ...data,
        data,
        actor: expect.objectContaining(bob),
        recipient: expect.objectContaining(ada),
        inserted_at: engine.clock.now().toISOString(),
      },
    ],
    total_activities: 1,
    total_actors: 1,
    timestamp: engine.clock.now().toISOString(),
    timezone: 'Asia/Tokyo',
  })
})
