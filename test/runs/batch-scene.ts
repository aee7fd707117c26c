import type { EnvironmentName, RunId, WorkflowKey } from '../../src/ids.ts'
import { cancelByKey, cancelRun } from '../../src/runs/cancel.ts'
import { test as base } from '../support/database.ts'
import { openEngine, type Engine } from '../support/engine.ts'

/** `test` with an engine of its own. */
export const test = base.extend<{ engine: Engine }>({
  engine: async ({ database }, use) => {
    await using engine = await openEngine(database)
    await use(engine)
  },
})

export const environment = 'production' as EnvironmentName
export const MINUTE_MS = 60_000
export const ada = { id: 'ada', name: 'Ada' }

const TEXT =
  '{{total_activities}}/{{total_actors}}/{{run.total_activities}} {{#each activities}}{{n}}{{data.n}}{{#if actor}}{{actor.name}}{{/if}} {{/each}}| {{#each actors}}{{name}} {{/each}}| {{data.n}} {{data.only}} {{data.list}} {{actor.name}}'

/** A workflow with this batch step, and a message behind it that says what the batch held. */
export const files = (batch: string, body = TEXT) => ({
  'workflows/hello/workflow.yaml': `name: W
steps:
  - { ref: digest, type: batch, ${batch} }
  - { ref: feed, type: in_app, body: ${JSON.stringify(body)} }
`,
})

export interface Sent {
  readonly n?: number | string
  readonly key?: string
  readonly actor?: string
  readonly settings?: object
  readonly tenant?: string
  readonly data?: object
  readonly recipients?: readonly object[]
}

/** Triggers for Ada, and works until nothing is due. */
export async function send(engine: Engine, { n = 0, key, actor, data, ...rest }: Sent = {}) {
  const id = await engine.trigger('hello', {
    recipients: [ada],
    data: { n, ...data },
    ...(key !== undefined && { cancellation_key: key }),
    ...(actor !== undefined && { actor: { id: actor, name: actor.toUpperCase() } }),
    ...rest,
  })
  await engine.drain()
  return id
}

/** Lets minutes pass, and works until nothing is due. */
export async function later(engine: Engine, minutes: number): Promise<void> {
  engine.clock.advance(minutes * MINUTE_MS)
  await engine.drain()
}

/** The texts that were sent, in order. */
export async function texts(engine: Engine): Promise<readonly string[]> {
  const messages = await engine.messages()
  return messages.map(({ content }) => (content['body'] as { content: string }).content)
}

/** How each run ended, or what it waits for, oldest first. */
export const standing = async (engine: Engine) =>
  (await engine.runs()).map((run) => run.outcome ?? `${run.status}:${run.waits_for}`)

export const cancel = (engine: Engine, cancellationKey: string) =>
  engine.database.transaction((tx) =>
    cancelByKey(tx, engine.queue, {
      environment,
      workflow: 'hello' as WorkflowKey,
      cancellationKey,
      recipients: null,
      requestedBy: 'somebody',
      now: engine.clock.now(),
    }),
  )

export const cancelOne = (engine: Engine, id: RunId) =>
  engine.database.transaction((tx) =>
    cancelRun(tx, engine.queue, { environment, id, requestedBy: 'me', now: engine.clock.now() }),
  )
