import { memoized } from '../memo.ts'
import type { Queryable } from '../db/database.ts'
import { channelId, type EnvironmentName } from '../ids.ts'
import { evaluate } from '../language/conditions.ts'
import { lookupIn } from '../language/paths.ts'
import {
  decidePreferences,
  type PreferenceDecision,
  type PreferenceFinding,
} from '../language/preference-decision.ts'
import {
  DEFAULT_SET,
  layersOf,
  type PreferenceChannelType,
  type PreferenceLayers,
  type PreferenceSet,
} from '../language/preferences.ts'
import { asPreferences } from '../recipients/preference-input.ts'
import { loadPreferences } from '../recipients/preference-store.ts'
import { recipientKey, type Recipient, type RecipientRef } from '../recipients/recipient.ts'
import type { ChannelType } from '../steps/step.ts'
import type { Channel } from '../workflow/environment.ts'
import type { Workflow } from '../workflow/workflow.ts'

/** Whom preferences are asked of, and for whom. */
export interface PreferenceAsker extends RecipientRef {
  readonly tenant: string | null
}

/** The sets of recipients, by recipient and id of the set. */
export type PreferenceSets = ReadonlyMap<string, ReadonlyMap<string, PreferenceSet>>

/** Reads the sets that may count for these recipients, with one query. */
export async function loadPreferenceSets(
  tx: Queryable,
  environment: EnvironmentName,
  askers: readonly PreferenceAsker[],
): Promise<PreferenceSets> {
  if (askers.length === 0) return new Map()
  const named = askers.flatMap(({ collection, id, tenant }) => [
    { collection, id, set: DEFAULT_SET },
    ...(tenant === null ? [] : [{ collection, id, set: tenant }]),
  ])
  const found = await loadPreferences(tx, environment, named)
  const groups = Map.groupBy(found, recipientKey)
  return new Map(
    [...groups].map(([key, sets]) => [
      key,
      new Map(sets.map(({ set, settings }) => [set, settings])),
    ]),
  )
}

/** The sets that count for one recipient. */
export function preferenceLayers(
  sets: PreferenceSets,
  asker: PreferenceAsker,
  above: {
    readonly tenant: Recipient | undefined
    readonly environment: PreferenceSet | undefined
  },
): PreferenceLayers {
  const own = sets.get(recipientKey(asker))
  const { tenant } = asker
  return layersOf({
    tenant,
    own: own?.get(DEFAULT_SET),
    ownForTenant: tenant === null ? undefined : own?.get(tenant),
    tenantDefault: tenantPreferences(above.tenant),
    environment: above.environment,
  })
}

/** What a tenant says for its recipients; undefined where it says nothing. */
export function tenantPreferences(tenant: Recipient | undefined): PreferenceSet | undefined {
  const settings = tenant?.properties['settings']
  if (typeof settings !== 'object' || settings === null) return undefined
  return asPreferences((settings as Readonly<Record<string, unknown>>)['preference_set'])
}

/** What is about to be sent. */
export interface Intent {
  readonly key: string
  readonly workflow: Workflow
  readonly channel: Pick<Channel, 'key' | 'type'>
}

/** Whether the preferences let a workflow send through a channel; conditions are read in `scope`. */
export function askPreferences(
  layers: PreferenceLayers,
  { key, workflow, channel }: Intent,
  { scope, now }: { readonly scope: object; readonly now: Date },
): PreferenceDecision {
  const question = {
    workflow: key,
    categories: workflow.categories ?? [],
    commercial: workflow.commercial === true,
    override: workflow.override_preferences === true,
    channelType: preferenceChannelType(channel.type),
    channel: idOf(channel),
  }
  const lookup = lookupIn(scope)
  return decidePreferences(layers, question, (all) => evaluate({ all }, lookup, { now }))
}

const idOf = memoized(({ key }: Pick<Channel, 'key'>) => channelId(key))

/** The name under which preferences know a type of channel. */
export function preferenceChannelType(type: ChannelType): PreferenceChannelType {
  if (type === 'in_app') return 'in_app_feed'
  return type === 'webhook' ? 'http' : type
}

/** A decision as the timeline and the API show it; undefined where no setting had a say. */
export function toDecision(
  decision: PreferenceDecision,
  { fallback }: Pick<PreferenceLayers, 'fallback'>,
): Readonly<Record<string, unknown>> | undefined {
  const { allowed, overridden, decidedBy, findings } = decision
  if (overridden) return { result: true, overridden, decided_by: null, settings: [] }
  if (findings.length === 0) return undefined
  return {
    result: allowed,
    decided_by: decidedBy && toFinding(decidedBy),
    settings: findings.map(toFinding),
    ...(fallback && { tenant_without_preferences: true }),
  }
}

function toFinding({ setting, set, id, result, conditions }: PreferenceFinding) {
  return { setting, set, id, result, ...(conditions && { conditions }) }
}
