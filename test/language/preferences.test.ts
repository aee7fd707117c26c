import { describe, expect, test } from 'vitest'
import { evaluate, type Condition } from '../../src/language/conditions.ts'
import { lookupIn } from '../../src/language/paths.ts'
import {
  decidePreferences,
  type PreferenceQuestion,
} from '../../src/language/preference-decision.ts'
import {
  effectivePreferences,
  layersOf,
  type PreferenceSet,
  type PreferenceSources,
} from '../../src/language/preferences.ts'

const nothing: PreferenceSources = {
  tenant: null,
  own: undefined,
  ownForTenant: undefined,
  tenantDefault: undefined,
  environment: undefined,
}

const comment: PreferenceQuestion = {
  workflow: 'comment',
  categories: ['collaboration', 'mentions'],
  commercial: false,
  override: false,
  channelType: 'email',
  channel: 'c1',
}

const scope = { recipient: { plan: 'pro', muted: ['p1'] }, data: { page: 'p1' } }
const holdAll = (all: readonly Condition[]) =>
  evaluate({ all }, lookupIn(scope), { now: new Date('2030-01-01T00:00:00Z') })

function decide(sources: Partial<PreferenceSources>, question: Partial<PreferenceQuestion> = {}) {
  const layers = layersOf({ ...nothing, ...sources })
  return decidePreferences(layers, { ...comment, ...question }, holdAll)
}

/** What is decided, and by which setting of which set. */
function verdict(sources: Partial<PreferenceSources>, question: Partial<PreferenceQuestion> = {}) {
  const { allowed, decidedBy, findings } = decide(sources, question)
  const by = decidedBy ?? findings[0]
  const where = by ? ` ${by.set}${by.id === null ? '' : ` ${by.id}`}: ${by.setting}` : ''
  return `${allowed ? 'send' : 'block'}${where}`
}

function effective(sources: Partial<PreferenceSources>): PreferenceSet {
  return effectivePreferences(layersOf({ ...nothing, ...sources })).settings
}

const no = { categories: { collaboration: false } }
const yes = { categories: { collaboration: true } }
const conditions = (argument: string): readonly Condition[] => [
  { variable: 'recipient.plan', operator: 'equal_to', argument },
]

describe('which sets count', () => {
  test('without a tenant: the own set over the environment', () => {
    expect(verdict({})).toBe('send')
    expect(verdict({ environment: no })).toBe('block environment: categories.collaboration')
    expect(verdict({ environment: no, own: yes })).toBe(
      'send recipient default: categories.collaboration',
    )
    expect(verdict({ environment: yes, own: no })).toBe(
      'block recipient default: categories.collaboration',
    )
    const others = { ownForTenant: no, tenantDefault: no }
    expect(verdict({ own: yes, ...others })).toBe(
      'send recipient default: categories.collaboration',
    )
  })

  test('with a tenant: the own set for it, over what the tenant says, over the environment', () => {
    const tenant = 'acme'
    expect(verdict({ tenant, ownForTenant: yes, tenantDefault: no, environment: no })).toBe(
      'send recipient acme: categories.collaboration',
    )
    expect(verdict({ tenant, ownForTenant: {}, tenantDefault: yes, environment: no })).toBe(
      'send tenant acme: categories.collaboration',
    )
    expect(verdict({ tenant, ownForTenant: {}, tenantDefault: {}, environment: no })).toBe(
      'block environment: categories.collaboration',
    )
  })

  test.each([{ ownForTenant: {} }, { tenantDefault: {} }])(
    'with a tenant of which %j is said, the own set "default" is ignored',
    (said) => {
      expect(verdict({ tenant: 'acme', own: no, ...said })).toBe('send')
      expect(layersOf({ ...nothing, tenant: 'acme', own: no, ...said }).fallback).toBe(false)
    },
  )

  test('with a tenant of which neither says anything: as without one', () => {
    expect(verdict({ tenant: 'acme', own: no, environment: yes })).toBe(
      'block recipient default: categories.collaboration',
    )
    expect(layersOf({ ...nothing, tenant: 'acme', own: no }).fallback).toBe(true)
  })
})

describe('the merge', () => {
  test('takes each setting from the highest set that has it', () => {
    const merged = effective({
      tenant: 'acme',
      ownForTenant: {
        categories: { a: { channel_types: { email: true } } },
        channels: { c1: true },
      },
      tenantDefault: {
        categories: { a: { channel_types: { email: false, sms: false } }, b: false },
      },
      environment: { channel_types: { push: false }, categories: { b: true, c: false } },
    })
    expect(merged).toEqual({
      categories: { a: { channel_types: { email: true, sms: false } }, b: false, c: false },
      channels: { c1: true },
      channel_types: { push: false },
    })
  })

  test('lets a value that has no parts hide the parts below it, and parts the value', () => {
    const parts = { workflows: { w: { channel_types: { email: false } } } }
    expect(effective({ own: { workflows: { w: true } }, environment: parts })).toEqual({
      workflows: { w: true },
    })
    expect(effective({ own: parts, environment: { workflows: { w: false } } })).toEqual(parts)
    const between = {
      tenant: 'acme',
      ownForTenant: { workflows: { w: { channel_types: { sms: false } } } },
      tenantDefault: { workflows: { w: true } },
      environment: parts,
    }
    expect(effective(between)).toEqual({ workflows: { w: { channel_types: { sms: false } } } })
  })

  test('says where each setting stands', () => {
    const { leaves } = effectivePreferences(
      layersOf({
        ...nothing,
        own: { workflows: { w: false } },
        environment: { channel_types: { email: true } },
      }),
    )
    expect(leaves).toEqual([
      { setting: 'workflows.w', value: false, set: 'recipient', id: 'default' },
      { setting: 'channel_types.email', value: true, set: 'environment', id: null },
    ])
  })

  const ownForTenant = {
    categories: { collaboration: { channel_types: { email: true } } },
    channel_types: { email: true, sms: true },
  }

  test('puts a setting of the tenant that replaces in the place of what the recipient says', () => {
    const tenantDefault = {
      categories: {
        collaboration: { __strategy__: 'replace' as const, channel_types: { email: false } },
      },
    }
    const sources = { tenant: 'acme', ownForTenant, tenantDefault }
    expect(verdict(sources)).toBe('block tenant acme: categories.collaboration.channel_types.email')
    // The rest of what the recipient says still counts, and the reader sees why this does not.
    expect(effective(sources)).toEqual({ ...ownForTenant, ...tenantDefault })
    expect(effective({ ...sources, tenantDefault: {} })).toEqual(ownForTenant)
  })

  test('replaces a workflow, and channels and their types as a whole', () => {
    const tenant = 'acme'
    const channel_types = { __strategy__: 'replace' as const, email: false }
    expect(effective({ tenant, ownForTenant, tenantDefault: { channel_types } })).toEqual({
      ...ownForTenant,
      channel_types,
    })
    const channels = { __strategy__: 'replace' as const, c1: false }
    expect(
      verdict({ tenant, ownForTenant: { channels: { c1: true } }, tenantDefault: { channels } }),
    ).toBe('block tenant acme: channels.c1')
    const workflows = { comment: { __strategy__: 'replace' as const } }
    expect(
      verdict({
        tenant,
        ownForTenant: { workflows: { comment: false } },
        tenantDefault: { workflows },
      }),
    ).toBe('send')
  })

  test('gives way to the recipient again where the tenant merges', () => {
    const tenantDefault = {
      categories: {
        collaboration: { __strategy__: 'merge' as const, channel_types: { email: false } },
      },
    }
    expect(verdict({ tenant: 'acme', ownForTenant, tenantDefault })).toBe(
      'send recipient acme: categories.collaboration.channel_types.email',
    )
  })
})

describe('the decision', () => {
  test('sends where nothing is said of it', () => {
    const own = {
      workflows: { other: false },
      categories: { marketing: false },
      channel_types: { sms: false },
      channels: { c2: false },
      commercial_subscribed: false,
    }
    expect(verdict({ own })).toBe('send')
    expect(decide({ own }).findings).toEqual([])
  })

  test.each<[string, PreferenceSet]>([
    ['workflows.comment', { workflows: { comment: false } }],
    [
      'workflows.comment.channel_types.email',
      { workflows: { comment: { channel_types: { email: false } } } },
    ],
    ['workflows.comment.channels.c1', { workflows: { comment: { channels: { c1: false } } } }],
    [
      'workflows.comment.conditions',
      { workflows: { comment: { conditions: conditions('free') } } },
    ],
    ['categories.collaboration', { categories: { collaboration: false } }],
    // One of two is enough, whatever is said of the channels.
    [
      'categories.mentions',
      {
        categories: { collaboration: true, mentions: false },
        channels: { c1: true },
        channel_types: { email: true },
      },
    ],
    ['categories.mentions.channels.c1', { categories: { mentions: { channels: { c1: false } } } }],
    ['channel_types.email', { channel_types: { email: false } }],
    ['channel_types.email', { channel_types: { email: { conditions: conditions('free') } } }],
    ['channels.c1', { channels: { c1: false }, channel_types: { email: true } }],
    // A channel beats its type on its own level only.
    [
      'channel_types.email',
      { channel_types: { email: false }, categories: { mentions: { channels: { c1: true } } } },
    ],
  ])('blocks by %s', (setting, own) => {
    expect(verdict({ own })).toBe(`block recipient default: ${setting}`)
  })

  test.each<[string, PreferenceSet]>([
    ['a channel beats its type', { channels: { c1: true }, channel_types: { email: false } }],
    [
      'so it does below a category',
      { categories: { mentions: { channels: { c1: true }, channel_types: { email: false } } } },
    ],
    [
      'conditions hold',
      {
        workflows: { comment: { conditions: conditions('pro') } },
        channels: { c1: { conditions: [] } },
      },
    ],
  ])('sends: %s', (_name, own) => {
    expect(decide({ own }).allowed).toBe(true)
  })

  test('shows what conditions came to, in the scope of the run', () => {
    const list = [
      { variable: 'recipient.muted', operator: 'not_contains', argument: 'data.page' },
    ] as const
    const { decidedBy } = decide({ own: { workflows: { comment: { conditions: list } } } })
    expect(decidedBy?.conditions).toMatchObject([
      { resolved_variable: ['p1'], resolved_argument: 'p1', result: false },
    ])
  })

  test('is not asked where the workflow overrides preferences', () => {
    const own = { workflows: { comment: false }, commercial_subscribed: false }
    expect(decide({ own }, { override: true, commercial: true })).toEqual({
      allowed: true,
      overridden: true,
      decidedBy: null,
      findings: [],
    })
  })
})

describe('a commercial workflow', () => {
  const commercial = { commercial: true }
  const off = { commercial_subscribed: false }
  const on = { commercial_subscribed: true }

  test('asks for the subscription, and takes silence for yes', () => {
    expect(verdict({}, commercial)).toBe('send')
    expect(verdict({ environment: off }, commercial)).toBe(
      'block environment: commercial_subscribed',
    )
    expect(verdict({ environment: off, own: on }, commercial)).toBe(
      'send recipient default: commercial_subscribed',
    )
    expect(
      verdict({ own: { commercial_subscribed: { conditions: conditions('free') } } }, commercial),
    ).toBe('block recipient default: commercial_subscribed')
  })

  test('is not sent to who has unsubscribed, whatever a tenant says', () => {
    const tenant = 'acme'
    const sources = { tenant, own: off, tenantDefault: on, environment: on }
    expect(verdict(sources, commercial)).toBe('block recipient default: commercial_subscribed')
    expect(effective(sources)).toMatchObject(off)
    // Nor where the set for the tenant says yes, as one that was written before may.
    expect(verdict({ ...sources, ownForTenant: on }, commercial)).toBe(
      'block recipient default: commercial_subscribed',
    )
    expect(verdict({ ...sources, own: on, ownForTenant: off }, commercial)).toBe(
      'block recipient acme: commercial_subscribed',
    )
    expect(verdict({ tenant, own: on, tenantDefault: off }, commercial)).toBe(
      'send recipient default: commercial_subscribed',
    )
  })
})
