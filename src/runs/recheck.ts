import type { Transaction } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import {
  type BatchId,
  type ChannelKey,
  type EnvironmentName,
  type MessageId,
  type RunId,
  type VersionId,
  type WorkflowKey,
} from '../ids.ts'
import { AUDIENCES } from '../language/conditions.ts'
import type { Recheck } from '../messages/claim.ts'
import { loadEnvironment } from '../messages/environments.ts'
import {
  recipientKey,
  TENANTS,
  toScope,
  type Recipient,
  type RecipientRef,
} from '../recipients/recipient.ts'
import { loadRecipients } from '../recipients/store.ts'
import type { ChannelType } from '../steps/step.ts'
import { loadContents } from './batch-contents.ts'
import { audiencesOf, findMemberships } from './memberships.ts'
import { askPreferences, loadPreferenceSets, preferenceLayers, toDecision } from './preferences.ts'
import { secretPlaceholders } from './scope.ts'
import { loadVersions } from './versions.ts'
import { workflowScope } from '../workflow/workflow.ts'

interface HeldMessage {
  readonly id: MessageId
  readonly runId: RunId
  readonly workflow: WorkflowKey
  readonly versionId: VersionId
  readonly channel: ChannelKey
  readonly channelType: ChannelType
  readonly recipient: RecipientRef
  readonly actor: RecipientRef | null
  readonly tenant: string | null
  readonly data: Readonly<Record<string, unknown>>
  /** The batch that its run went on from before it made the message. */
  readonly batchId: BatchId | null
}

/**
 * Asks the preferences of now about messages that waited, in the scope of their runs: answers what decided
 * about each one that must not be sent any more. A fixed number of queries, whatever the number of messages.
 */
export const recheckPreferences: Recheck = async (tx, { environment, ids, now }) => {
  const held = await loadHeld(tx, environment, ids)
  const live = await loadEnvironment(tx, environment)
  if (!live || held.length === 0) return new Map()
  const versions = await loadVersions(
    tx,
    held.map(({ versionId }) => versionId),
  )
  const askers = held.map(({ recipient, tenant }) => ({ ...recipient, tenant }))
  const sets = await loadPreferenceSets(tx, environment, askers)
  const known = await loadRecipients(tx, environment, held.flatMap(named))
  const entities = new Map(known.map((one) => [recipientKey(one), one]))
  const batches = await loadContents(
    tx,
    environment,
    held.flatMap(({ batchId }) => batchId ?? []),
  )
  const { settings } = live
  const memberships = await findMemberships(
    tx,
    environment,
    held.map(({ recipient }) => recipient),
    { isCertain: false, versions: [], settings, preferences: sets, entities: known },
  )
  const { open: vars } = secretPlaceholders(settings)
  const find = (ref: RecipientRef | null) => (ref ? entities.get(recipientKey(ref)) : undefined)
  const refused = held.flatMap((message, index) => {
    const { workflow } = versions.get(message.versionId)!
    const tenant = find(tenantOf(message))
    const layers = preferenceLayers(sets, askers[index]!, {
      tenant,
      environment: live.settings.preferences,
    })
    const batch = message.batchId === null ? undefined : batches.get(message.batchId)
    const scope = {
      recipient: show(find(message.recipient)) ?? {},
      actor: show(find(message.actor)),
      tenant: show(tenant),
      data: message.data,
      vars,
      workflow: workflowScope(message.workflow, workflow),
      run: {
        id: message.runId,
        total_activities: batch?.totalActivities ?? 1,
        total_actors: batch?.totalActors ?? (message.actor ? 1 : 0),
      },
      [AUDIENCES]: audiencesOf(memberships, message.recipient, message.tenant),
    }
    const channel = { key: message.channel, type: message.channelType }
    const intent = { key: message.workflow, workflow, channel }
    const decision = askPreferences(layers, intent, { scope, now })
    return decision.allowed ? [] : [[message.id, toDecision(decision, layers) ?? {}] as const]
  })
  return new Map(refused)
}

function named(message: HeldMessage): readonly RecipientRef[] {
  const { recipient, actor } = message
  const tenant = tenantOf(message)
  return [recipient, ...(actor ? [actor] : []), ...(tenant ? [tenant] : [])]
}

function tenantOf({ tenant }: HeldMessage): RecipientRef | null {
  return tenant === null ? null : { collection: TENANTS, id: tenant }
}

function show(entity: Recipient | undefined): Readonly<Record<string, unknown>> | null {
  return entity ? toScope(entity) : null
}

async function loadHeld(
  tx: Transaction,
  environment: EnvironmentName,
  ids: readonly MessageId[],
): Promise<readonly HeldMessage[]> {
  return await tx.query<HeldMessage>(sql`
    select m.id, m.run_id as "runId", m.workflow, m.version_id as "versionId", m.channel,
      m.channel_type as "channelType",
      json_build_object('collection', m.collection, 'id', m.recipient) as recipient,
      m.actor, m.tenant, message_data(m.environment, m.workflow_run_id, m.data, m.data_whole) as data,
      b.id as "batchId"
    from messages m
    left join runs r on r.environment = m.environment and r.id = m.run_id
    left join batches b on b.environment = r.environment and b.id = r.batch_id
      and b.taken_at <= m.inserted_at
    where m.environment = ${environment} and m.id = any(${ids}::uuid[])
    order by m.id
  `)
}
