import type { BulkKind } from '../recipients/bulk-work.ts'
import { deleteRecipients, setRecipients } from './bulk-recipients.ts'
import { createManySchedules } from './bulk-schedules.ts'
import { addManySubscriptions, deleteManySubscriptions } from './bulk-subscriptions.ts'
import { markChannelMessages } from './channel-messages.ts'

/** What is worked on after its answer, by the name that it is kept under. */
export const bulkKinds: Readonly<Record<string, BulkKind>> = {
  'messages.mark': markChannelMessages,
  'messages.delete': markChannelMessages,
  'users.identify': setRecipients,
  'objects.set': setRecipients,
  'tenants.set': setRecipients,
  'schedules.create': createManySchedules,
  'objects.add_subscriptions': addManySubscriptions,
  'objects.delete_subscriptions': deleteManySubscriptions,
  'users.delete': deleteRecipients,
  'objects.delete': deleteRecipients,
  'tenants.delete': deleteRecipients,
}
