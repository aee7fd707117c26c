import type { Queryable } from '../db/database.ts'
import type { EnvironmentName } from '../ids.ts'
import { memoized } from '../memo.ts'
import { loadMemberships } from '../recipients/audience-store.ts'
import { USERS, type Recipient, type RecipientRef } from '../recipients/recipient.ts'
import type { EnvironmentSettings } from '../workflow/environment.ts'
import { tenantPreferences, type PreferenceSets } from './preferences.ts'
import type { LoadedVersion } from './versions.ts'

/** In which audiences users are, and for which tenant, by the id of the user. */
export type Memberships = ReadonlyMap<
  string,
  readonly { readonly audience: string; readonly tenant: string | null }[]
>

/** All that may have conditions in which somebody asks for audiences. */
export interface Asking {
  /** Whether they are asked for whatever these say. */
  readonly isCertain: boolean
  readonly versions: Iterable<LoadedVersion>
  readonly settings: EnvironmentSettings
  readonly preferences: PreferenceSets
  /** Tenants have preferences, too. */
  readonly entities: Iterable<Recipient>
}

/** Reads in which audiences these recipients are, with one query; with none where no condition asks for it. */
export async function findMemberships(
  tx: Queryable,
  environment: EnvironmentName,
  recipients: readonly RecipientRef[],
  asking: Asking,
): Promise<Memberships> {
  if (!isAsked(asking)) return new Map()
  const users = recipients.flatMap(({ collection, id }) => (collection === USERS ? [id] : []))
  return Map.groupBy(await loadMemberships(tx, environment, users), ({ user }) => user)
}

/** The audiences that a recipient is in, as far as they count for a tenant: those for no tenant, and those for this one. */
export function audiencesOf(
  memberships: Memberships,
  { collection, id }: RecipientRef,
  tenant: string | null,
): readonly string[] {
  const own = collection === USERS ? (memberships.get(id) ?? []) : []
  const counting = own.filter((one) => one.tenant === null || one.tenant === tenant)
  return [...new Set(counting.map(({ audience }) => audience))]
}

function isAsked({ isCertain, versions, settings, preferences, entities }: Asking): boolean {
  return (
    isCertain ||
    versionAsks(settings) ||
    [...versions].some(({ workflow }) => versionAsks(workflow)) ||
    [...preferences.values()].some((sets) => [...sets.values()].some(mentions)) ||
    [...entities].some((entity) => mentions(tenantPreferences(entity)))
  )
}

/** A version and the settings of an environment stay what they are. */
const versionAsks = memoized((one: object) => mentions(one))

function mentions(conditions: object | undefined): boolean {
  return conditions !== undefined && JSON.stringify(conditions).includes('audience_member"')
}
