import { describe, expect } from 'vitest'
import { RequestError } from '../../src/errors.ts'
import { sql } from '../../src/db/sql.ts'
import { test as base } from '../support/database.ts'
import { openEngine, plainEnvironment, type Engine } from '../support/engine.ts'

const test = base.extend<{ engine: Engine }>({
  engine: async ({ database }, use) => {
    await using engine = await openEngine(database)
    await use(engine)
  },
})

const feed = (text: string, more = '') =>
  `  - { ref: feed, type: in_app, body: "${text}"${more} }\n`
const workflow = (steps: string, head = '') => `name: W\n${head}steps:\n${steps}`
const pinned = (text: string) => ({
  'workflows/hello/workflow.yaml': workflow(
    `  - { ref: pause, type: delay, for: 1h }\n  - { ref: later, type: in_app, body: { file: body.md.hbs } }\n`,
  ),
  'workflows/hello/body.md.hbs': `${text} {{> sign}}`,
  'workflows/_partials/sign.hbs': `from ${text}`,
})
const asks = (status: string) =>
  `conditions: { all: [{ variable: refs.feed.delivery_status, operator: equal_to, argument: ${status} }] }`
const ada = { id: 'ada', name: 'Ada', email: 'ada@example.com' }

describe('a trigger', () => {
  test('becomes a delivered message for each recipient', async ({ engine }) => {
    await engine.commit({
      'workflows/hello/workflow.yaml': workflow(feed('Hello {{recipient.name}}, {{data.word}}')),
    })
    const id = await engine.trigger('hello', {
      recipients: [ada, { id: 'bob', name: 'Bob' }],
      data: { word: 'hi' },
    })
    await engine.drain()
    const messages = await engine.messages()
    expect(messages.map((message) => [message.recipient, message.status])).toEqual([
      ['ada', 'delivered'],
      ['bob', 'delivered'],
    ])
    expect(messages[0]?.content).toMatchObject({ body: { rendered: '<p>Hello Ada, hi</p>' } })
    const runs = await engine.runs(id)
    expect(runs.map((run) => [run.status, run.outcome])).toEqual([
      ['completed', 'completed'],
      ['completed', 'completed'],
    ])
    expect(await engine.timeline(runs[0]!.id)).toEqual([
      'triggered',
      'feed message_enqueued',
      'feed message_created',
      'feed message_delivered',
      'run_completed',
    ])
  })

  test('takes its first steps in the job that gives its recipients their runs, however many they are', async ({
    engine,
  }) => {
    await engine.commit({ 'workflows/hello/workflow.yaml': workflow(feed('x')) })
    const recipients = Array.from({ length: 450 }, (_, index) => ({ id: `u-${index}`, name: 'U' }))
    await engine.trigger('hello', { recipients })
    expect(await engine.queue.drain()).toEqual({ handled: 1, failures: [] })
    const runs = await engine.database.query(sql`
      select outcome, count(*)::integer as count from runs
      where environment = 'production' group by outcome
    `)
    expect(runs).toEqual([{ outcome: 'completed', count: 450 }])
  })

  test('gives no run to somebody nobody knows, and says so', async ({ engine }) => {
    await engine.commit({ 'workflows/hello/workflow.yaml': workflow(feed('x')) })
    const id = await engine.trigger('hello', { recipients: ['nobody', ada] })
    await engine.drain()
    expect(await engine.runs(id)).toHaveLength(1)
    const [row] = await engine.database.query(sql`
      select missing, fan_out from workflow_runs where environment = 'production' and id = ${id}`)
    expect(row).toEqual({ missing: [{ collection: '$users', id: 'nobody' }], fan_out: 'done' })
  })

  test('makes a user of an object with an id alone, and none of a plain id', async ({ engine }) => {
    await engine.commit({ 'workflows/hello/workflow.yaml': workflow(feed('x')) })
    await engine.trigger('hello', { recipients: [{ id: 'new' }, 'plain'], actor: { id: 'actor' } })
    await engine.drain()
    expect((await engine.messages()).map((message) => message.recipient)).toEqual(['new'])
  })

  test('lays $trigger_data over the data, for its recipient only', async ({ engine }) => {
    await engine.commit({
      'workflows/hello/workflow.yaml': workflow(feed('{{data.a}} {{data.b}}')),
    })
    await engine.trigger('hello', {
      recipients: [
        { ...ada, $trigger_data: { b: 'own' } },
        { id: 'bob', name: 'Bob' },
      ],
      data: { a: 'all', b: 'shared' },
    })
    await engine.drain()
    expect((await engine.messages()).map((message) => message.content['body'])).toMatchObject([
      { content: 'all own' },
      { content: 'all shared' },
    ])
  })

  test('is worked on by lanes when it is large, each recipient once', async ({ engine }) => {
    await engine.commit({ 'workflows/hello/workflow.yaml': workflow(feed('x')) })
    const recipients = Array.from({ length: 950 }, (_, index) => ({
      id: `user-${index}`,
      name: 'N',
    }))
    const id = await engine.trigger('hello', { recipients })
    await engine.drain()
    expect(await engine.runs(id)).toHaveLength(950)
    const messages = await engine.messages()
    expect(new Set(messages.map((message) => message.recipient)).size).toBe(950)
    expect(messages).toHaveLength(950)
  })

  const refused: readonly [string, unknown, number, string][] = [
    ['missing', { recipients: ['ada'] }, 404, 'workflow_missing'],
    ['hello', { recipients: [] }, 422, 'invalid_params'],
    ['hello', { recipients: ['ada'], data: { count: 'x' } }, 422, 'invalid_data'],
    ['hello', { recipients: ['ada'], actor: 'ghost', data: { count: 1 } }, 422, 'actor_missing'],
  ]
  for (const [key, body, status, code] of refused) {
    test(`is refused with ${code}, and leaves nothing`, async ({ engine }) => {
      const schema =
        'trigger: { data_schema: { type: object, properties: { count: { type: integer } } } }\n'
      await engine.commit({ 'workflows/hello/workflow.yaml': workflow(feed('x'), schema) })
      const refusal = await engine.trigger(key, body).catch((error: unknown) => error)
      expect(refusal).toBeInstanceOf(RequestError)
      expect(refusal).toMatchObject({ status, code })
      const [count] = await engine.database.query(sql`
        select count(*)::integer as count from workflow_runs where environment is not null`)
      expect(count).toEqual({ count: 0 })
    })
  }
})

describe('conditions', () => {
  test('of the workflow halt the run before its first step', async ({ engine }) => {
    const head =
      'conditions: { all: [{ variable: data.go, operator: equal_to, argument: true }] }\n'
    await engine.commit({ 'workflows/hello/workflow.yaml': workflow(feed('x'), head) })
    await engine.trigger('hello', { recipients: [ada], data: { go: false } })
    await engine.drain()
    const [run] = await engine.runs()
    expect(run).toMatchObject({
      status: 'completed',
      outcome: 'halted',
      reason: 'conditions_not_met',
    })
    expect(await engine.timeline(run!.id)).toEqual([
      'triggered',
      'trigger_conditions_evaluated',
      'run_halted:conditions_not_met',
    ])
  })

  test('of a step skip it, and may ask how an earlier message fared', async ({ engine }) => {
    const seen =
      'conditions: { all: [{ variable: refs.feed.engagement_status, operator: not_contains, argument: $message.seen }] }'
    const steps = `${feed('one')}  - { ref: pause, type: delay, for: 1h }\n  - { ref: again, type: in_app, body: two, ${seen} }\n`
    await engine.commit({ 'workflows/hello/workflow.yaml': workflow(steps) })
    await engine.trigger('hello', { recipients: [ada, { id: 'bob', name: 'Bob' }] })
    await engine.drain()
    await engine.database.query(sql`
      update messages set seen_at = now() where environment = 'production' and recipient = 'ada'`)
    engine.clock.advance(3_600_000)
    await engine.drain()
    expect((await engine.messages()).map((each) => `${each.recipient} ${each.step_ref}`)).toEqual([
      'ada feed',
      'bob feed',
      'bob again',
    ])
    const [run] = await engine.runs()
    expect(await engine.timeline(run!.id)).toContain('again step_skipped:conditions_not_met')
  })

  test('of a channel skip the steps that send by it, but not in its sandbox', async ({
    engine,
  }) => {
    const asked = '{ all: [{ variable: recipient.plan, operator: equal_to, argument: pro }] }'
    const channel = (key: string, more: string) =>
      `  ${key}: { type: in_app, provider: in_app, ${more}conditions: ${asked} }\n`
    const steps = ['feed', 'trial'].map(
      (one) => `  - { ref: ${one}, type: in_app, channel: ${one}, body: x }\n`,
    )
    await engine.commit({
      'environments/production.yaml': `ref: main\nchannels:\n${channel('feed', '')}${channel('trial', 'sandbox: true, ')}`,
      'workflows/hello/workflow.yaml': workflow(steps.join('')),
    })
    await engine.trigger('hello', { recipients: [ada, { id: 'bob', name: 'Bob', plan: 'pro' }] })
    await engine.drain()
    expect(
      (await engine.messages()).map((each) => `${each.recipient} ${each.step_ref} ${each.status}`),
    ).toEqual(['ada trial not_sent', 'bob feed delivered', 'bob trial not_sent'])
    const [run] = await engine.runs()
    expect(await engine.timeline(run!.id)).toEqual(
      expect.arrayContaining([
        'feed channel_conditions_evaluated',
        'feed step_skipped:channel_conditions_not_met',
      ]),
    )
  })
})

test('a condition sees how a message of the same pass fares', async ({ engine }) => {
  const steps = `${feed('x')}  - { ref: fallback, type: in_app, body: y, ${asks('$message.skipped')} }\n  - { ref: more, type: in_app, body: z, ${asks('$message.delivered')} }\n`
  await engine.commit({ 'workflows/hello/workflow.yaml': workflow(steps) })
  await engine.trigger('hello', { recipients: [ada] })
  await engine.drain()
  expect((await engine.messages()).map((message) => message.step_ref)).toEqual(['feed', 'more'])
})

test('a template of a message sees no secret variable, however it asks', async ({ database }) => {
  const environment = `ref: main\nvariables: { token: { secret: TOKEN }, url: { value: open } }\n${plainEnvironment}`
  await using engine = await openEngine(database, {
    environments: { production: environment },
    secrets: { 'production/TOKEN': 'hidden' },
  })
  await engine.commit({ 'workflows/hello/workflow.yaml': workflow(feed('{{json vars}}')) })
  await engine.trigger('hello', { recipients: [ada] })
  await engine.drain()
  const [message] = await engine.messages()
  expect(JSON.stringify(message?.content)).toContain('open')
  expect(JSON.stringify(message?.content)).not.toContain('token')
})

describe('a branch', () => {
  test('is chosen by its conditions, and may end the run', async ({ engine }) => {
    const steps = `  - ref: plan
    type: branch
    branches:
      - name: paid
        conditions: { all: [{ variable: recipient.plan, operator: equal_to, argument: paid }] }
        terminates: true
        steps: [{ ref: thanks, type: in_app, body: thanks }]
      - name: other
        steps: [{ ref: offer, type: in_app, body: offer }]
${feed('end')}`
    await engine.commit({ 'workflows/hello/workflow.yaml': workflow(steps) })
    await engine.trigger('hello', {
      recipients: [
        { id: 'a', plan: 'paid' },
        { id: 'b', plan: 'free' },
      ],
    })
    await engine.drain()
    expect(
      (await engine.messages()).map((each) => `${each.recipient} ${each.step_ref}`).toSorted(),
    ).toEqual(['a thanks', 'b feed', 'b offer'])
    const [run] = await engine.runs()
    expect(run).toMatchObject({ outcome: 'completed', reason: 'branch_terminated' })
  })
})

test('a cohort divides the recipients, and may end their runs', async ({ engine }) => {
  const steps = `  - ref: trial
    type: cohort
    cohorts:
      - { name: first, percentage: 50, terminates: true, steps: [{ ref: first, type: in_app, body: x }] }
      - { name: second, percentage: 50, steps: [{ ref: second, type: in_app, body: x }] }
${feed('end')}`
  await engine.commit({ 'workflows/hello/workflow.yaml': workflow(steps) })
  const recipients = Array.from({ length: 40 }, (_, index) => ({ id: `user-${index}`, n: 1 }))
  const divide = async () => {
    const id = await engine.trigger('hello', { recipients })
    await engine.drain()
    const runs = await engine.runs(id)
    const ended = runs.filter((run) => run.reason === 'branch_terminated')
    return { runs, ended: ended.map((run) => run.recipient).toSorted() }
  }
  const { runs, ended } = await divide()
  expect(ended.length).toBeGreaterThan(5)
  expect(ended.length).toBeLessThan(35)
  expect((await engine.messages()).map((each) => each.step_ref)).toContain('second')
  expect(await engine.timeline(runs[0]!.id)).toContain('trial cohort_chosen')
  expect((await divide()).ended).toEqual(ended)
})

describe('a delay', () => {
  const steps = `${feed('one')}  - { ref: pause, type: delay, for: 1h }\n  - { ref: later, type: in_app, body: two }\n`

  test('holds the run until its time, to the second', async ({ engine }) => {
    await engine.commit({ 'workflows/hello/workflow.yaml': workflow(steps) })
    await engine.trigger('hello', { recipients: [ada] })
    await engine.drain()
    const [asleep] = await engine.runs()
    expect(asleep).toMatchObject({ status: 'paused', wakes_at: new Date('2027-03-01T10:00:00Z') })
    engine.clock.advance(3_599_000)
    await engine.drain()
    expect(await engine.messages()).toHaveLength(1)
    engine.clock.advance(1_000)
    await engine.drain()
    expect(await engine.messages()).toHaveLength(2)
    expect(await engine.timeline(asleep!.id)).toEqual([
      'triggered',
      'feed message_enqueued',
      'feed message_created',
      'feed message_delivered',
      'pause waiting:delay',
      'later message_enqueued',
      'later message_created',
      'later message_delivered',
      'run_completed',
    ])
  })

  test('is passed over where the trigger says so', async ({ engine }) => {
    await engine.commit({ 'workflows/hello/workflow.yaml': workflow(steps) })
    await engine.trigger('hello', { recipients: [ada], settings: { skip_delay: true } })
    await engine.drain()
    expect(await engine.messages()).toHaveLength(2)
  })

  test('keeps its own version and templates, whatever is merged or reverted meanwhile', async ({
    engine,
  }) => {
    await engine.commit(pinned('old'))
    await engine.trigger('hello', { recipients: [ada] })
    await engine.drain()
    await engine.commit(pinned('new'))
    await engine.trigger('hello', { recipients: [{ id: 'bob', name: 'Bob' }] })
    await engine.drain()
    await engine.repository.revert()
    await engine.reconcile()
    await engine.trigger('hello', { recipients: [{ id: 'cy', name: 'Cy' }] })
    await engine.drain()
    engine.clock.advance(3_600_000)
    await engine.drain()
    const texts = (await engine.messages()).map(({ recipient, content }) => [
      recipient,
      (content['body'] as { content: string }).content.trim(),
    ])
    expect(Object.fromEntries(texts)).toEqual({
      ada: 'old from old',
      bob: 'new from new',
      cy: 'old from old',
    })
    const versions = new Map((await engine.runs()).map((run) => [run.recipient, run.version_id]))
    expect(versions.get('ada')).toBe(versions.get('cy'))
    expect(versions.get('ada')).not.toBe(versions.get('bob'))
  })

  test('ends with its recipient, and with its workflow', async ({ engine }) => {
    await engine.commit({
      'workflows/hello/workflow.yaml': workflow(steps),
      'workflows/other/workflow.yaml': workflow(steps),
    })
    await engine.trigger('hello', { recipients: [ada] })
    await engine.trigger('other', { recipients: [ada, { id: 'bob', name: 'Bob' }] })
    await engine.drain()
    await engine.database.query(
      sql`delete from recipients where environment = 'production' and id = 'bob'`,
    )
    await engine.commit({ 'workflows/hello': null })
    engine.clock.advance(3_600_000)
    await engine.drain()
    const runs = await engine.runs()
    const ends = runs.map((run) => [run.workflow, run.recipient, run.outcome, run.reason])
    expect(ends).toEqual([
      ['hello', 'ada', 'cancelled', 'workflow_archived'],
      ['other', 'ada', 'completed', null],
      ['other', 'bob', 'cancelled', 'recipient_deleted'],
    ])
  })

  test('goes on when an archived workflow is back in time', async ({ engine }) => {
    const files = {
      'workflows/hello/workflow.yaml': workflow(steps),
      'workflows/keep/workflow.yaml': workflow(steps),
    }
    await engine.commit(files)
    await engine.trigger('hello', { recipients: [ada] })
    await engine.drain()
    await engine.commit({ 'workflows/hello': null })
    await expect(engine.trigger('hello', { recipients: [ada] })).rejects.toThrow('was archived')
    await engine.commit(files)
    engine.clock.advance(3_600_000)
    await engine.drain()
    expect(await engine.messages()).toHaveLength(2)
  })
})

describe('a step that fails', () => {
  test('ends the run as failed at once where no repeat can mend it', async ({ engine }) => {
    const steps = `  - { ref: mail, type: email, subject: s, markdown: m, attachments: data.files }\n${feed('x')}`
    await engine.commit({ 'workflows/hello/workflow.yaml': workflow(steps) })
    await engine.trigger('hello', { recipients: [ada], data: { files: 'none' } })
    await engine.drain()
    const [run] = await engine.runs()
    const failed = { status: 'completed', outcome: 'failed', reason: 'step_failed', error_count: 1 }
    expect(run).toMatchObject(failed)
    expect(await engine.messages()).toEqual([])
  })
})
