import { expect } from 'vitest'
import { channelId, type ChannelKey } from '../../src/ids.ts'
import { addMembers } from '../../src/recipients/audience-store.ts'
import { test } from '../support/database.ts'
import { openEngine } from '../support/engine.ts'
import { MINUTE_MS, environment } from './batch-scene.ts'

const production = `ref: main
channels:
  feed: { type: in_app, provider: in_app }
  ops: { type: chat, provider: slack, sandbox: true, settings: { bot_token: { secret: BOT } } }
`
const BEGINNING = `name: W
steps:
  - { ref: before, type: in_app, body: first }
  - { ref: digest, type: batch, window: 10m }
`
const NEWER = `${BEGINNING}  - { ref: chat, type: chat, markdown: behind }
  - { ref: again, type: in_app, body: second, conditions: { all: [{ variable: refs.before.delivery_status, operator: equal_to, argument: $message.delivered }] } }
  - { ref: beta, type: in_app, body: third, conditions: { all: [{ variable: recipient, operator: is_audience_member, argument: beta }] } }
`

test('a newer version behind a batch has all that its own steps ask for', async ({ database }) => {
  await using engine = await openEngine(database, {
    environments: { production },
    secrets: { 'production/BOT': 'xoxb' },
  })
  await engine.commit({ 'workflows/hello/workflow.yaml': BEGINNING })
  const ops = channelId('ops' as ChannelKey)
  const connections = [{ channel_id: 'C1' }]
  await engine.trigger('hello', {
    recipients: [{ id: 'ada', channel_data: { [ops]: { connections } } }],
  })
  await engine.drain()
  const members = [{ user: 'ada', tenant: null }]
  await database.transaction((tx) =>
    addMembers(tx, { environment, audience: 'beta' }, members, engine.clock.now()),
  )
  await engine.commit({ 'workflows/hello/workflow.yaml': NEWER })
  engine.clock.advance(10 * MINUTE_MS)
  await engine.drain()
  expect((await engine.messages()).map(({ step_ref: ref }) => ref)).toEqual([
    'before',
    'chat',
    'again',
    'beta',
  ])
})
