import { activities } from './activities.ts'
import { audiences } from './audiences.ts'
import { brakes } from './brakes.ts'
import { bulk } from './bulk.ts'
import { channelData } from './channel-data.ts'
import { bulkRecipients } from './bulk-recipients.ts'
import { bulkSchedules } from './bulk-schedules.ts'
import { bulkSubscriptions } from './bulk-subscriptions.ts'
import { channelMessages } from './channel-messages.ts'
import { drift } from './drift.ts'
import { engagement } from './engagement.ts'
import { environments } from './environments.ts'
import { feeds } from './feeds.ts'
import { channelHook } from './hooks/channels.ts'
import { gitHook } from './hooks/git.ts'
import { sourceHooks } from './hooks/sources.ts'
import { health } from './health.ts'
import { installation } from './installation.ts'
import { messages } from './messages.ts'
import { metrics } from './metrics.ts'
import { objects } from './objects.ts'
import { recipientRuns } from './recipient-runs.ts'
import { preferences } from './preferences.ts'
import { openApiRoute } from './openapi.ts'
import { plan } from './plan.ts'
import { previews } from './preview.ts'
import type { Route } from './route.ts'
import { revisions } from './revisions.ts'
import { sources } from './sources.ts'
import { schedules } from './schedules.ts'
import { subscriptions } from './subscriptions.ts'
import { suppressions } from './suppressions.ts'
import { tenants } from './tenants.ts'
import { tracking } from './tracking.ts'
import { unsubscribe } from './unsubscribe.ts'
import { users } from './users.ts'
import { workflowRuns } from './workflow-runs.ts'
import { workflows } from './workflows.ts'

const served: readonly Route[] = [
  ...workflows,
  ...previews,
  ...messages,
  ...activities,
  ...engagement,
  ...channelMessages,
  ...suppressions,
  ...feeds,
  ...recipientRuns,
  ...workflowRuns,
  ...preferences,
  ...bulk,
  ...channelData,
  ...bulkRecipients,
  ...bulkSubscriptions,
  ...bulkSchedules,
  ...users,
  ...objects,
  ...subscriptions,
  ...audiences,
  ...sourceHooks,
  ...sources,
  ...schedules,
  ...tenants,
  ...environments,
  ...plan,
  ...brakes,
  ...revisions,
  gitHook,
  channelHook,
  ...unsubscribe,
  ...tracking,
  ...drift,
  ...installation,
  ...health,
  ...metrics,
]

/** Every route, in the order in which they are tried: the trigger comes first. To add a resource: write its file, then name it above. */
export const routes: readonly Route[] = [...served, openApiRoute(served)]
