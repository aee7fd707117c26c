import { openDoor } from '../../src/channels/door.ts'
import type { Clock } from '../../src/clock.ts'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { newId } from '../../src/ids.ts'
import type { MessageId, ProcessId } from '../../src/ids.ts'
import { silentLog } from '../../src/log.ts'
import { openDelivery } from '../../src/messages/deliver.ts'
import type { DeliverJob } from '../../src/messages/claim.ts'
import type { DeliveryContext } from '../../src/messages/deliver.ts'
import { beat } from '../../src/messages/leases.ts'
import { findMessageEvents } from '../../src/messages/log-store.ts'
import { insertMessages } from '../../src/messages/store.ts'
import type { NewMessage } from '../../src/messages/store.ts'
import type { Channel } from '../../src/workflow/environment.ts'
import { testClock, type TestClock } from '../support/clock.ts'
import {
  clear,
  production,
  saveEnvironment,
  saveUser,
  saveWorkflow,
  startOfTest,
} from './builders.ts'

const secrets: Record<string, string> = {
  SMTP_PASSWORD: 'correct-horse',
  CRM_TOKEN: 'crm-secret-1',
}

/** Before each test: nothing but an environment with these channels, a workflow and a user who is known. */
export async function prepare(
  database: Database,
  channels: Readonly<Record<string, Channel>> = {},
): Promise<{ readonly clock: TestClock; readonly stop: AbortController }> {
  await clear(database)
  await saveEnvironment(database, channels)
  await saveWorkflow(database, 'welcome')
  await saveUser(database, 'ann')
  return { clock: testClock(startOfTest), stop: new AbortController() }
}

/** A process that delivers, with a lease of its own. */
export async function aProcess(
  database: Database,
  options: Pick<DeliveryContext, 'clock' | 'signal'> & Partial<Pick<DeliveryContext, 'log'>>,
): Promise<DeliveryContext> {
  const process = newId<ProcessId>()
  await beat(database, process)
  return openDelivery({
    database,
    process,
    door: openDoor({ allow: [], loopback: true }),
    secret: (_environment, name) => secrets[name],
    log: silentLog,
    random: () => 0.5,
    ...options,
  })
}

/** Writes messages as a run does, and gives the job that names them. */
export async function insert(
  database: Database,
  clock: Clock,
  messages: readonly NewMessage[],
): Promise<DeliverJob> {
  await database.transaction((tx) => insertMessages(tx, messages, clock.now()))
  return { environment: production, messageIds: messages.map(({ id }) => id) }
}

export interface State {
  readonly status: string
  readonly reason: string | null
  readonly attempt: number
  readonly due_at: Date | null
  readonly claimed_by: string | null
  readonly reference: string | null
}

export async function stateOf(database: Database, id: MessageId): Promise<State> {
  const [row] = await database.query<State>(sql`
    select status, reason, attempt, due_at, claimed_by, reference
    from messages
    where environment = ${production} and id = ${id}
  `)
  return row!
}

export async function statesOf(
  database: Database,
  messages: readonly NewMessage[],
): Promise<State[]> {
  return await Promise.all(messages.map(({ id }) => stateOf(database, id)))
}

export async function eventTypes(
  database: Database,
  id: MessageId,
): Promise<readonly string[] | undefined> {
  const history = await findMessageEvents(database, production, id)
  return history?.events.map(({ type }) => type)
}

/** What stands of a switch change whatever a test turns. */
export const off = {
  environment: production,
  workflow: 'welcome',
  channel: '',
  active: false,
  reason: null,
  actor: 'operator',
  expiresAt: null,
  now: startOfTest,
}
