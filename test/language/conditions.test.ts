import { Ajv2020 } from 'ajv/dist/2020.js'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  checkConditions,
  conditionsSchema,
  conditionVariables,
  evaluate,
  RESOLVED_CHARS_MAX,
  type Condition,
  type Conditions,
} from '../../src/language/conditions.ts'
import { operatorNames, type Operator } from '../../src/language/operators.ts'
import { lookupIn } from '../../src/language/paths.ts'

const now = new Date('2027-03-01T12:00:00Z')

const scope = {
  data: {
    text: 'hello world',
    number: 5,
    numeral: '10',
    yes: true,
    nothing: null,
    blank: '',
    list: ['a', 'b', 3],
    none: [],
    nested: { items: [{ id: 'x' }] },
    at: '2027-03-01T10:00:00Z',
    later: '2027-03-05T00:00:00+02:00',
  },
  recipient: { id: 'u1', plan: 'b' },
  actor: null,
  refs: {
    email: { delivery_status: 'delivered', engagement_status: ['seen'] },
    skipped: { delivery_status: 'skipped', engagement_status: [] },
  },
}

function result(variable: string, operator: string, argument?: unknown): unknown {
  const condition = { variable, operator: operator as Operator, argument }
  return evaluate({ all: [condition] }, lookupIn(scope), { now }).holds
}

function outcome(conditions: Conditions): readonly [boolean, readonly unknown[]] {
  const { holds, results } = evaluate(conditions, lookupIn(scope), { now })
  return [holds, results.map((one) => one.result)]
}

function problems(variable: string, operator: string, argument?: unknown) {
  const condition = {
    variable,
    operator: operator as Operator,
    ...(argument !== undefined && { argument }),
  }
  return checkConditions({ all: [condition] }).map(({ path, code }) => `${path.join('.')} ${code}`)
}

describe('operators', () => {
  test.each([
    ['data.number', 'equal_to', 5, true],
    ['data.number', 'equal_to', '5', true],
    ['data.numeral', 'equal_to', '10', true],
    ['data.yes', 'equal_to', true, true],
    ['data.yes', 'equal_to', 'true', true],
    ['data.text', 'equal_to', 'hello world', true],
    ['data.text', 'equal_to', '"hello world"', true],
    ['data.list', 'equal_to', '["a","b",3]', true],
    ['data.missing', 'equal_to', '', true],
    ['data.missing', 'equal_to', 'data.also_missing', true],
    ['data.missing', 'not_equal_to', true, true],
    ['data.nothing', 'equal_to', null, true],
    ['data.number', 'greater_than', 4, true],
    ['data.number', 'greater_than', 5, false],
    ['data.number', 'greater_than_or_equal_to', '5', true],
    ['data.numeral', 'greater_than', 9, true],
    ['data.numeral', 'less_than', '9', false],
    ['data.text', 'less_than', 'i', true],
    ['data.text', 'greater_than', 5, false],
    ['data.text', 'less_than_or_equal_to', 5, false],
    ['data.missing', 'less_than', 5, false],
    ['data.number', 'is_between', [1, 5], true],
    ['data.number', 'is_between', [6, 9], false],
    ['data.text', 'contains', 'lo wo', true],
    ['data.text', 'contains', 'nope', false],
    ['data.text', 'contains', 'data.missing', false],
    ['data.list', 'contains', 'a', true],
    ['data.list', 'contains', '3', true],
    ['data.list', 'contains', 'recipient.plan', true],
    ['data.list', 'contains', ['z', 'b'], true],
    ['data.list', 'not_contains', 'z', true],
    ['data.missing', 'not_contains', 'z', true],
    ['data.list', 'contains_all', ['a', 'b'], true],
    ['data.list', 'contains_all', ['a', 'z'], false],
    ['data.list', 'not_contains_all', ['a', 'z'], true],
    ['data.blank', 'empty', undefined, true],
    ['data.none', 'empty', undefined, true],
    ['data.nothing', 'empty', undefined, true],
    ['data.missing', 'empty', undefined, true],
    ['data.number', 'not_empty', undefined, true],
    ['data.blank', 'exists', undefined, true],
    ['data.nothing', 'exists', undefined, false],
    ['data.missing', 'not_exists', undefined, true],
    ['actor', 'exists', undefined, false],
    ['data.at', 'is_timestamp', undefined, true],
    ['data.text', 'is_timestamp', undefined, false],
    ['data.text', 'is_not_timestamp', undefined, true],
    ['data.at', 'is_timestamp_before', '2027-03-01T10:00:01Z', true],
    ['data.at', 'is_timestamp_before_date', '2027-03-02', true],
    ['data.at', 'is_timestamp_on_or_after', '2027-03-01T10:00:00Z', true],
    ['data.at', 'is_timestamp_on_or_after_date', '2027-03-02', false],
    ['data.at', 'is_timestamp_before', 'data.later', true],
    ['data.at', 'is_timestamp_before', '1 hour ago', true],
    ['data.at', 'is_timestamp_before', '3 hours ago', false],
    ['data.later', 'is_timestamp_on_or_after', '2 days from now', true],
    ['data.at', 'is_timestamp_before', '5 minutes ago', false],
    ['data.text', 'is_timestamp_before', '1 hour ago', false],
    ['data.at', 'is_timestamp_between', ['2027-03-01', '2027-03-02'], true],
    ['data.later', 'is_timestamp_between', ['2027-03-01', '2027-03-02'], false],
    ['data.at', 'is_timestamp_before_now', undefined, true],
    ['data.later', 'is_timestamp_on_or_after_now', undefined, true],
    ['data.nested.items.0.id', 'equal_to', 'x', true],
    ['data.list.length', 'equal_to', 3, true],
  ])('%s %s %j is %s', (variable, operator, argument, expected) => {
    expect(result(variable, operator, argument)).toBe(expected)
  })

  test('a path never reaches what JavaScript adds to a value', () => {
    for (const name of ['constructor', '__proto__', 'toString', 'nested.constructor.name']) {
      expect(result(`data.${name}`, 'exists')).toBe(false)
    }
  })

  test('a negation is the opposite of what it negates, whatever the values', () => {
    const pairs = [
      ['equal_to', 'not_equal_to'],
      ['contains', 'not_contains'],
      ['contains_all', 'not_contains_all'],
      ['empty', 'not_empty'],
      ['exists', 'not_exists'],
      ['is_timestamp', 'is_not_timestamp'],
    ] as const
    fc.assert(
      fc.property(
        fc.constantFrom(...pairs),
        fc.jsonValue(),
        fc.jsonValue(),
        (pair, left, right) => {
          const holds = pair.map((operator) => {
            const conditions = { all: [{ variable: 'data.x', operator, argument: right }] }
            return evaluate(conditions, lookupIn({ data: { x: left } }), { now }).holds
          })
          expect(holds[0]).toBe(!holds[1])
        },
      ),
    )
  })

  test('no operator throws, whatever the values', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...operatorNames),
        fc.anything(),
        fc.jsonValue(),
        (operator, left, argument) => {
          const conditions: Conditions = { all: [{ variable: 'data.x', operator, argument }] }
          expect(() => evaluate(conditions, () => left, { now })).not.toThrow()
        },
      ),
    )
  })
})

describe('the messages of an earlier step', () => {
  test.each([
    ['refs.email.delivery_status', 'equal_to', '$message.delivered', true],
    ['refs.email.delivery_status', 'greater_than_or_equal_to', '$message.sent', true],
    ['refs.email.delivery_status', 'less_than', '$message.sent', false],
    ['refs.email.delivery_status', 'not_equal_to', '$message.skipped', true],
    ['refs.skipped.delivery_status', 'equal_to', '$message.skipped', true],
    ['refs.skipped.delivery_status', 'less_than', '$message.sent', true],
    ['refs.email.engagement_status', 'contains', '$message.seen', true],
    ['refs.email.engagement_status', 'contains', '$message.seen_not_read', true],
    ['refs.email.engagement_status', 'contains', '$message.read_not_link_clicked', false],
    ['refs.email.engagement_status', 'not_contains', '$message.read', true],
    ['refs.skipped.engagement_status', 'not_contains', '$message.seen', true],
  ])('%s %s %s is %s', (variable, operator, argument, expected) => {
    expect(result(variable, operator, argument)).toBe(expected)
  })

  test('a status that is no longer known makes both polarities false', () => {
    expect(result('refs.gone.engagement_status', 'contains', '$message.seen')).toBe(false)
    expect(result('refs.gone.engagement_status', 'not_contains', '$message.seen')).toBe(false)
    expect(result('refs.gone.delivery_status', 'less_than', '$message.sent')).toBe(false)
    expect(result('refs.gone.delivery_status', 'not_equal_to', '$message.sent')).toBe(false)
  })

  test('of several messages the one that went furthest counts', () => {
    const conditions: Conditions = {
      all: [
        {
          variable: 'refs.x.delivery_status',
          operator: 'equal_to',
          argument: '$message.delivered',
        },
      ],
    }
    const several = { refs: { x: { delivery_status: ['undelivered', 'delivered', 'queued'] } } }
    expect(evaluate(conditions, lookupIn(several), { now }).holds).toBe(true)
  })
})

describe('groups', () => {
  const yes: Condition = { variable: 'data.yes', operator: 'equal_to', argument: true }
  const no: Condition = { variable: 'data.yes', operator: 'equal_to', argument: false }

  test('all stops at the first that does not hold', () => {
    expect(outcome({ all: [yes, no, yes] })).toEqual([false, [true, false, 'not_evaluated']])
    expect(outcome({ all: [yes, yes] })).toEqual([true, [true, true]])
  })

  test('any stops at the first that holds', () => {
    expect(outcome({ any: [no, yes, no] })).toEqual([true, [false, true, 'not_evaluated']])
    expect(outcome({ any: [no, no] })).toEqual([false, [false, false]])
  })

  test('a group inside any holds when all of it holds', () => {
    expect(
      outcome({ any: [{ all: [yes, no, yes] }, { all: [yes, yes] }, { all: [no] }, yes] }),
    ).toEqual([true, [true, false, 'not_evaluated', true, true, 'not_evaluated', 'not_evaluated']])
  })

  test('what is not needed is not looked up', () => {
    const asked: string[] = []
    evaluate({ any: [yes, no] }, (path) => asked.push(path) > 0, { now })
    expect(asked).toEqual(['data.yes'])
  })
})

describe('results', () => {
  test('tell the values that were compared', () => {
    const condition: Condition = {
      variable: 'data.list',
      operator: 'contains',
      argument: 'recipient.plan',
    }
    expect(evaluate({ all: [condition] }, lookupIn(scope), { now }).results).toEqual([
      {
        ...condition,
        resolved_variable: ['a', 'b', 3],
        resolved_argument: 'b',
        result: true,
      },
    ])
  })

  test('a path that names nothing resolves to the empty text', () => {
    const conditions: Conditions = {
      all: [{ variable: 'data.x', operator: 'equal_to', argument: 'data.y' }],
    }
    expect(evaluate(conditions, lookupIn(scope), { now }).results).toMatchObject([
      { resolved_variable: '', resolved_argument: '', result: true },
    ])
  })

  test('keep short values as they are, and cut long ones', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
        const conditions: Conditions = { all: [{ variable: 'data.x', operator: 'exists' }] }
        const resolved = evaluate(conditions, () => value, { now }).results[0]?.resolved_variable
        const json = JSON.stringify(value)
        const isShort = json.length <= RESOLVED_CHARS_MAX
        const cut = `${json.slice(0, RESOLVED_CHARS_MAX - 1)}…`
        expect(resolved).toEqual(isShort ? value : cut)
      }),
    )
  })
})

test('results cut the argument as written too, whether it was looked at or not', () => {
  const argument = Array.from({ length: 1_000 }, (_, index) => `item ${index}`)
  const long = { variable: 'data.x', operator: 'contains', argument } as const
  const { results } = evaluate({ all: [long, long] }, lookupIn(scope), { now })
  expect(results.map(({ result: came }) => came)).toEqual([false, 'not_evaluated'])
  for (const one of results) expect(JSON.stringify(one).length).toBeLessThan(1_000)
})

describe('the schema', () => {
  const validate = new Ajv2020({
    strict: true,
    strictRequired: false,
    allowUnionTypes: true,
  }).compile(conditionsSchema)
  const condition = { variable: 'data.x', operator: 'equal_to', argument: 1 }

  test.each([
    { all: [condition] },
    { any: [condition] },
    { any: [{ all: [condition] }, condition] },
    { all: [{ variable: 'data.x', operator: 'empty', argument: null }] },
    { all: [{ ...condition, argument: ['a', 1, true, null] }] },
  ])('takes %j', (value) => {
    expect(validate(value)).toBe(true)
  })

  test.each([
    {},
    [],
    { all: [] },
    { all: [condition], any: [condition] },
    { all: [{ all: [condition] }] },
    { any: [{ any: [condition] }] },
    { any: [{ all: [condition], variable: 'data.x' }] },
    { any: [{ variable: 'data.x' }] },
    { all: [{ variable: 'data.x' }] },
    { all: [{ ...condition, operator: 'is_member' }] },
    { all: [{ ...condition, extra: 1 }] },
    { all: [{ ...condition, argument: { a: 1 } }] },
    { all: [{ ...condition, argument: [[1]] }] },
  ])('refuses %j', (value) => {
    expect(validate(value)).toBe(false)
  })
})

describe('checks', () => {
  test.each([
    ['dat.x', 'exists', undefined, 'all.0.variable unknown_prefix'],
    ['data', 'exists', undefined, 'all.0.variable invalid_path'],
    ['data.', 'exists', undefined, 'all.0.variable invalid_path'],
    ['data..x', 'exists', undefined, 'all.0.variable invalid_path'],
    ['data.x', 'is_audience_member', 'beta', 'all.0.variable invalid_path'],
    ['recipient', 'is_audience_member', 'Beta!', 'all.0.argument invalid_argument'],
    ['recipient', 'is_not_audience_member', undefined, 'all.0 missing_argument'],
    ['recipient', 'exists', undefined, 'all.0.variable invalid_path'],
    ['data.x', 'exists', 'y', 'all.0.argument unexpected_argument'],
    ['data.x', 'equal_to', undefined, 'all.0 missing_argument'],
    ['data.x', 'greater_than', [1], 'all.0.argument invalid_argument'],
    ['data.x', 'greater_than', 'true', 'all.0.argument invalid_argument'],
    ['data.x', 'is_between', 3, 'all.0.argument invalid_argument'],
    ['data.x', 'is_between', [3, 1], 'all.0.argument invalid_argument'],
    ['data.x', 'is_timestamp_before', 'soon', 'all.0.argument invalid_argument'],
    ['data.x', 'is_timestamp_before', '5 minutes ago', 'all.0.argument invalid_argument'],
    [
      'data.x',
      'is_timestamp_between',
      ['1 day ago', '1 day from now'],
      'all.0.argument invalid_argument',
    ],
    ['data.x', 'equal_to', '$message.sent', 'all.0.argument invalid_argument'],
    ['refs.x.delivery_status', 'equal_to', '$message.sendt', 'all.0.argument unknown_status'],
    ['refs.x.delivery_status', 'equal_to', 'sent', 'all.0.argument invalid_argument'],
    ['refs.x.delivery_status', 'contains', '$message.sent', 'all.0.operator invalid_operator'],
    ['refs.x.engagement_status', 'equal_to', '$message.seen', 'all.0.operator invalid_operator'],
  ])('%s %s %j: %s', (variable, operator, argument, expected) => {
    expect(problems(variable, operator, argument)).toEqual([expected])
  })

  test.each([
    ['data.x', 'equal_to', 'anything goes'],
    ['data.x', 'exists', null],
    ['recipient', 'is_audience_member', 'beta-testers'],
    ['recipient', 'is_not_audience_member', 'data.audience'],
    ['tenant', 'exists', undefined],
    ['data.x', 'is_timestamp_before', 'vars.limit'],
    ['data.x', 'is_timestamp_before', '15 minutes ago'],
    ['data.x', 'is_timestamp_on_or_after', '2 days from now'],
    ['data.x', 'is_timestamp_between', ['2027-01-01', '2027-02-01T00:00:00Z']],
    ['data.x', 'is_between', '[1, 2]'],
    ['refs.x.delivery_status', 'less_than', '$message.sent'],
    ['refs.x.engagement_status', 'not_contains', '$message.seen_not_read'],
    ['refs.x.delivery_status', 'exists', undefined],
  ])('%s %s %j is fine', (variable, operator, argument) => {
    expect(problems(variable, operator, argument)).toEqual([])
  })

  test('a problem in a nested group is placed there, with a hint', () => {
    const conditions: Conditions = {
      any: [{ all: [{ variable: 'recipent.plan', operator: 'equal_to', argument: 'pro' }] }],
    }
    expect(checkConditions(conditions)).toMatchObject([
      { path: ['any', 0, 'all', 0, 'variable'], hint: 'did you mean "recipient"?' },
    ])
  })
})

test('lists the paths that conditions read, and where', () => {
  const conditions: Conditions = {
    any: [
      { variable: 'data.a', operator: 'equal_to', argument: 'vars.b' },
      { all: [{ variable: 'vars.c', operator: 'equal_to', argument: '"vars.text"' }] },
    ],
  }
  expect(conditionVariables(conditions)).toEqual([
    { variable: 'data.a', path: ['any', 0, 'variable'] },
    { variable: 'vars.b', path: ['any', 0, 'argument'] },
    { variable: 'vars.c', path: ['any', 1, 'all', 0, 'variable'] },
  ])
})
