import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Condition } from '../../src/language/conditions.ts'
import {
  decidePreferences,
  type PreferenceQuestion,
} from '../../src/language/preference-decision.ts'
import {
  effectivePreferences,
  layersOf,
  type PreferenceSources,
} from '../../src/language/preferences.ts'

// A second implementation of the rules, which merges whole sets and then looks at the result.

type Json = { [key: string]: unknown }

const isMap = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

function laidOver(lower: unknown, upper: unknown): unknown {
  if (!isMap(lower) || !isMap(upper)) return upper
  const result: Json = { ...lower }
  for (const key of Object.keys(upper))
    result[key] = key in lower ? laidOver(lower[key], upper[key]) : upper[key]
  return result
}

const isReplacing = (value: unknown) => isMap(value) && value['__strategy__'] === 'replace'

/** The recipient's set without what the tenant replaces. */
function permitted(own: Json, tenant: Json): Json {
  const rest = structuredClone(own)
  for (const kind of ['workflows', 'categories'])
    for (const [key, value] of Object.entries((tenant[kind] ?? {}) as Json))
      if (isReplacing(value) && isMap(rest[kind])) delete rest[kind][key]
  for (const kind of ['channel_types', 'channels']) if (isReplacing(tenant[kind])) delete rest[kind]
  return rest
}

function mergedPlainly(sources: PreferenceSources): Json {
  const own = sources.own as Json | undefined
  const special = sources.ownForTenant as Json | undefined
  const tenant = sources.tenantDefault as Json | undefined
  const environment = (sources.environment ?? {}) as Json
  if (sources.tenant === null || (!special && !tenant))
    return laidOver(environment, own ?? {}) as Json
  const base = laidOver(environment, tenant ?? {})
  return laidOver(base, permitted(special ?? {}, tenant ?? {})) as Json
}

function isYes(value: unknown, holds: (list: unknown) => boolean): boolean {
  if (value === undefined) return true
  return typeof value === 'boolean' ? value : holds((value as Json)['conditions'])
}

function levelPlainly(
  level: Json,
  question: PreferenceQuestion,
  holds: (list: unknown) => boolean,
) {
  const channels = (level['channels'] ?? {}) as Json
  const types = (level['channel_types'] ?? {}) as Json
  const own = channels[question.channel]
  return isYes(own === undefined ? types[question.channelType] : own, holds)
}

function isSubscribed(
  sources: PreferenceSources,
  merged: Json,
  holds: (list: unknown) => boolean,
): boolean {
  const sets = sources.tenant === null ? [sources.own] : [sources.own, sources.ownForTenant]
  const said = sets.map((set) => set?.commercial_subscribed).filter((value) => value !== undefined)
  const counts = said.length > 0 ? said : [merged['commercial_subscribed']]
  return counts.every((value) => isYes(value, holds))
}

function decidePlainly(
  sources: PreferenceSources,
  question: PreferenceQuestion,
  holds: (list: unknown) => boolean,
): boolean {
  if (question.override) return true
  const merged = mergedPlainly(sources)
  if (question.commercial && !isSubscribed(sources, merged, holds)) return false
  const settings = [
    ((merged['workflows'] ?? {}) as Json)[question.workflow],
    ...question.categories.map((name) => ((merged['categories'] ?? {}) as Json)[name]),
  ]
  for (const setting of settings) {
    if (setting === false) return false
    if (!isMap(setting)) continue
    if (setting['conditions'] !== undefined && !holds(setting['conditions'])) return false
    if (!levelPlainly(setting, question, holds)) return false
  }
  return levelPlainly(merged, question, holds)
}

const list = fc.constantFrom<readonly Condition[]>(
  [],
  [{ variable: 'data.yes', operator: 'exists' }],
  [{ variable: 'data.no', operator: 'exists' }],
)
const value = fc.oneof(fc.boolean(), fc.record({ conditions: list }))
const strategy = fc.constantFrom('merge', 'replace')
const some = (shape: Record<string, fc.Arbitrary<unknown>>) =>
  fc.record(shape, { requiredKeys: [] })
const types = some({ email: value, sms: value, __strategy__: strategy })
const channels = some({ c1: value, c2: value, __strategy__: strategy })
const setting = fc.oneof(
  fc.boolean(),
  some({ conditions: list, channel_types: types, channels, __strategy__: strategy }),
)
const set = some({
  workflows: some({ w: setting, v: setting }),
  categories: some({ a: setting, b: setting }),
  channel_types: types,
  channels,
  commercial_subscribed: value,
})
const sources = fc.record({
  tenant: fc.constantFrom(null, 'acme'),
  own: fc.option(set, { nil: undefined }),
  ownForTenant: fc.option(set, { nil: undefined }),
  tenantDefault: fc.option(set, { nil: undefined }),
  environment: fc.option(set, { nil: undefined }),
}) as fc.Arbitrary<PreferenceSources>
const question = fc.record({
  workflow: fc.constantFrom('w', 'v', 'u'),
  categories: fc.subarray(['a', 'b', 'c']),
  commercial: fc.boolean(),
  override: fc.integer({ min: 0, max: 9 }).map((one) => one === 0),
  channelType: fc.constantFrom('email', 'sms', 'push'),
  channel: fc.constantFrom('c1', 'c2', 'c3'),
}) as fc.Arbitrary<PreferenceQuestion>

const holds = (all: unknown) =>
  (all as readonly Condition[]).every((one) => one.variable === 'data.yes')
const holdAll = (all: readonly Condition[]) => ({ holds: holds(all), results: [] })
const runs = { numRuns: 5_000 }

test('decides as the plain reading of the rules does', () => {
  let blocked = 0
  const property = fc.property(sources, question, (said, asked) => {
    const { allowed, decidedBy, findings } = decidePreferences(layersOf(said), asked, holdAll)
    if (!allowed) blocked += 1
    expect(allowed).toBe(decidePlainly(said, asked, holds))
    expect(decidedBy).toBe(findings.find(({ result }) => !result) ?? null)
  })
  fc.assert(property, runs)
  // The sets are such that both happens often.
  expect(blocked).toBeGreaterThan(runs.numRuns / 10)
  expect(blocked).toBeLessThan((runs.numRuns * 9) / 10)
})

test('shows the set that the plain merge gives, but for who has unsubscribed', () => {
  const property = fc.property(sources, (said) => {
    const { settings, leaves } = effectivePreferences(layersOf(said))
    const { commercial_subscribed: _shown, ...rest } = settings
    const { commercial_subscribed: _plain, ...plain } = mergedPlainly(said)
    expect(rest).toEqual(plain)
    // Each leaf stands where it is said to stand.
    for (const leaf of leaves) {
      const own = leaf.id === 'default' ? said.own : said.ownForTenant
      const from = { recipient: own, tenant: said.tenantDefault, environment: said.environment }
      const found = leaf.setting
        .split('.')
        .reduce<unknown>((at, key) => (isMap(at) ? at[key] : undefined), from[leaf.set])
      expect(found).toEqual(leaf.value)
    }
  })
  fc.assert(property, runs)
})

test('is not sent to who has switched the workflow off, whatever else is said', () => {
  const property = fc.property(sources, question, (said, asked) => {
    const own = { ...said.own, workflows: { ...said.own?.workflows, [asked.workflow]: false } }
    const after = decidePreferences(layersOf({ ...said, own, tenant: null }), asked, holdAll)
    expect(after.allowed).toBe(asked.override)
  })
  fc.assert(property, runs)
})
