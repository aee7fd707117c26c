import type { Queryable } from '../db/database.ts'
import type { EnvironmentName } from '../ids.ts'
import type { PreferenceLayers, PreferenceSet } from '../language/preferences.ts'
import { loadEnvironment } from '../messages/environments.ts'
import { TENANTS, type Recipient, type RecipientRef } from '../recipients/recipient.ts'
import { findRecipient } from '../recipients/store.ts'
import { loadPreferenceSets, preferenceLayers } from '../runs/preferences.ts'

/** A set in the contract's shape: what it says nothing of is null. */
export function preferencesToWire(id: string, settings: PreferenceSet): object {
  return {
    id,
    workflows: null,
    categories: null,
    channel_types: null,
    channels: null,
    commercial_subscribed: null,
    ...settings,
  }
}

/** What counts for a recipient: its sets, those of a tenant and those of the environment. */
export interface Counting {
  readonly layers: PreferenceLayers
  /** The tenant that was asked for, whether it is known or not. */
  readonly tenantId: string | null
  readonly tenant: Recipient | undefined
}

/** Reads what counts for a recipient, with or without a tenant. */
export async function loadCounting(
  database: Queryable,
  environment: EnvironmentName,
  ref: RecipientRef,
  tenant: string | null,
): Promise<Counting> {
  const asker = { ...ref, tenant }
  const sets = await loadPreferenceSets(database, environment, [asker])
  const above =
    tenant === null
      ? undefined
      : await findRecipient(database, environment, { collection: TENANTS, id: tenant })
  const live = await loadEnvironment(database, environment)
  const defaults = live?.settings.preferences
  return {
    layers: preferenceLayers(sets, asker, { tenant: above, environment: defaults }),
    tenantId: tenant,
    tenant: above,
  }
}
