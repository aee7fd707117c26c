import type { Transaction } from '../db/database.ts'
import { addMembers, listAudienceWorkflows, type Membership } from '../recipients/audience-store.ts'
import { USERS } from '../recipients/recipient.ts'
import type { OutsideTrigger, StartContext } from './outside.ts'
import { startWorkflows } from './outside.ts'

/**
 * Adds users to an audience, and starts the workflows that name it for those who were no members before: one
 * trigger for each workflow and tenant, whatever the number of members. The users are known already.
 */
export async function joinAudience(
  tx: Transaction,
  context: StartContext,
  { audience, members }: { readonly audience: string; readonly members: readonly Membership[] },
): Promise<void> {
  const { environment, now } = context
  const joined = await addMembers(tx, { environment, audience }, members, now)
  if (joined.length === 0) return
  const workflows = await listAudienceWorkflows(tx, { environment, audience })
  const groups = [...Map.groupBy(joined, ({ tenant }) => tenant)]
  const triggers = workflows.flatMap((workflow) =>
    groups.map(([tenant, users]): OutsideTrigger => ({
      workflow,
      request: {
        recipients: users.map(({ user }) => ({ collection: USERS, id: user })),
        actor: null,
        tenant,
        data: {},
        settings: {},
        cancellationKey: null,
        entities: [],
      },
      source: { type: 'audience', audience_key: audience },
    })),
  )
  await startWorkflows(tx, context, triggers)
}
