import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { newId } from '../../src/ids.ts'
import type {
  ChannelKey,
  EnvironmentName,
  MessageId,
  RunId,
  StepRef,
  VersionId,
  WorkflowKey,
  WorkflowRunId,
} from '../../src/ids.ts'
import type { NewMessage } from '../../src/messages/store.ts'
import type { EmailContent, WebhookContent } from '../../src/steps/step.ts'
import type { Channel } from '../../src/workflow/environment.ts'

export const production = 'production' as EnvironmentName
export const startOfTest = new Date('2030-01-01T00:00:00Z')

/** A channel of the environment, to a provider of the test. */
export function aChannel(channel: Partial<Channel> & Pick<Channel, 'provider' | 'type'>): Channel {
  return {
    key: 'main' as ChannelKey,
    sandbox: false,
    on_ambiguous: 'retry',
    settings: {},
    ...channel,
  }
}

/** Writes an environment with its channels, as an applied revision would; replaces an earlier one. */
export async function saveEnvironment(
  database: Database,
  channels: Readonly<Record<string, Channel>>,
  variables: Readonly<Record<string, object>> = {},
): Promise<void> {
  const settings = { timezone: 'Etc/UTC', locale: 'en', variables, channels }
  await database.query(sql`
    insert into environments
      (name, git_ref, declared, state, reason, message, sequence, observed_revision, applied_at,
       settings, updated_at)
    values (${production}, 'main', true, 'ready', 'applied', '', 1, 'abc', ${startOfTest},
            ${JSON.stringify(settings)}, ${startOfTest})
    on conflict (name) do update set settings = excluded.settings, sequence = environments.sequence + 1
  `)
}

export async function saveWorkflow(database: Database, key: string): Promise<void> {
  await database.query(sql`
    insert into versions (id, key, workflow, files, blobs, channel_uses, variable_uses, created_at)
    values ('version-1', ${key}, '{"categories": ["news"]}', '{}', '{}', '[]', '[]', ${startOfTest})
    on conflict (id) do nothing
  `)
  await database.query(sql`
    insert into workflows (environment, key, version_id, tree, sequence, created_at, updated_at)
    values (${production}, ${key}, 'version-1', 'tree', 1, ${startOfTest}, ${startOfTest})
    on conflict (environment, key) do nothing
  `)
}

export async function saveUser(database: Database, id: string): Promise<void> {
  await database.query(sql`
    insert into recipients (environment, collection, id, properties, created_at, updated_at)
    values (${production}, '$users', ${id}, '{}', ${startOfTest}, ${startOfTest})
    on conflict (environment, collection, id) do nothing
  `)
}

/** Empties all tables that these tests write. */
export async function clear(database: Database): Promise<void> {
  await database.execute(
    `truncate messages, deliveries, switches, switch_events, leases, workflows, versions,
       recipients, environments, channel_refusals, channel_rates, suppressions,
       channel_reports, status_polls cascade`,
  )
}

export function aWebhookContent(
  url: string,
  content: Partial<WebhookContent> = {},
): WebhookContent {
  return {
    type: 'webhook',
    method: 'POST',
    url,
    headers: {},
    query: {},
    body: { hello: 'world' },
    secrets: {},
    ...content,
  }
}

export function anEmailContent(content: Partial<EmailContent> = {}): EmailContent {
  return {
    type: 'email',
    to: 'ann@example.com',
    from: null,
    reply_to: null,
    cc: [],
    bcc: [],
    subject: 'Hello',
    html: '<p>Hello</p>',
    text: 'Hello',
    headers: {},
    attachments: [],
    ...content,
  }
}

export function aMessage(message: Partial<NewMessage> & Pick<NewMessage, 'content'>): NewMessage {
  return {
    environment: production,
    id: newId<MessageId>(),
    runId: newId<RunId>(),
    workflowRunId: newId<WorkflowRunId>(),
    workflow: 'welcome' as WorkflowKey,
    versionId: 'version-1' as VersionId,
    stepRef: 'send' as StepRef,
    channel: 'main' as ChannelKey,
    channelType: message.content.type,
    provider: 'webhook',
    recipient: { collection: '$users', id: 'ann' },
    actor: null,
    tenant: null,
    data: {},
    dataWhole: true,
    status: 'queued',
    ...message,
  }
}
