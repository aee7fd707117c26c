import { describe, expect, test } from 'vitest'
import { RequestError } from '../../src/errors.ts'
import { parseTrigger, RECIPIENTS_MAX } from '../../src/runs/trigger-request.ts'

function refusal(body: unknown): RequestError {
  try {
    parseTrigger(body)
  } catch (error) {
    if (error instanceof RequestError) return error
  }
  throw new Error('the body was accepted')
}

describe('the body of a trigger', () => {
  test('names users by id and objects by collection and id', () => {
    const request = parseTrigger({ recipients: ['ada', { id: 'core', collection: 'teams' }] })
    expect(request.recipients).toEqual([
      { collection: '$users', id: 'ada' },
      { collection: 'teams', id: 'core' },
    ])
    expect(request.entities).toEqual([])
  })

  test('brings users, objects and a tenant to be stored first', () => {
    const request = parseTrigger({
      recipients: [{ id: 'ada', name: 'Ada' }],
      actor: { id: 'bob', email: 'bob@example.com' },
      tenant: { id: 'acme', name: 'Acme' },
    })
    expect(request.entities).toEqual([
      { collection: '$users', id: 'ada', properties: { name: 'Ada' } },
      { collection: '$users', id: 'bob', properties: { email: 'bob@example.com' } },
      { collection: '$tenants', id: 'acme', properties: { name: 'Acme' } },
    ])
    expect(request.actor).toEqual({ collection: '$users', id: 'bob' })
    expect(request.tenant).toBe('acme')
  })

  test('keeps a tenant that is only named', () => {
    expect(parseTrigger({ recipients: ['ada'], tenant: 'acme' }).entities).toEqual([
      { collection: '$tenants', id: 'acme', properties: {} },
    ])
  })

  test('lets a recipient who is named twice have one run, with all that was said of it', () => {
    const request = parseTrigger({
      recipients: ['ada', { id: 'ada', name: 'Ada', $trigger_data: { seat: 1 } }],
    })
    expect(request.recipients).toEqual([{ collection: '$users', id: 'ada', data: { seat: 1 } }])
  })

  const refused: readonly [string, unknown, string][] = [
    ['no object', [], 'the body is not a JSON object'],
    ['no recipients', {}, '/recipients'],
    ['recipients that are no list', { recipients: 'ada' }, '/recipients'],
    ['an empty list', { recipients: [] }, '/recipients'],
    [
      'too many',
      { recipients: Array.from({ length: RECIPIENTS_MAX + 1 }, (_, i) => `u${i}`) },
      '/recipients',
    ],
    ['a number for a recipient', { recipients: [7] }, '/recipients/0'],
    ['an object without an id', { recipients: [{ name: 'x' }] }, '/recipients/0/id'],
    ['an id with a slash', { recipients: ['a/b'] }, '/recipients/0'],
    ['an empty id', { recipients: [''] }, '/recipients/0'],
    [
      'a collection that is no text',
      { recipients: [{ id: 'a', collection: 1 }] },
      '/recipients/0/collection',
    ],
    ['data that is a list', { recipients: ['a'], data: [] }, '/data'],
    ['an actor that is a number', { recipients: ['a'], actor: 1 }, '/actor'],
    ['a tenant that is a list', { recipients: ['a'], tenant: [] }, '/tenant'],
    [
      'settings of the wrong kind',
      { recipients: ['a'], settings: { skip_delay: 'yes' } },
      '/settings/skip_delay',
    ],
    ['an empty cancellation key', { recipients: ['a'], cancellation_key: '' }, '/cancellation_key'],
    [
      'recipient data of the wrong kind',
      { recipients: [{ id: 'a', $trigger_data: 1 }] },
      '/recipients/0/$trigger_data',
    ],
    [
      'a user whose address is a number',
      { recipients: [{ id: 'bob', email: 5 }] },
      '/recipients/0/email',
    ],
    [
      'a user of no known age',
      { recipients: ['a'], actor: { id: 'bob', created_at: 'long ago' } },
      '/actor/created_at',
    ],
    [
      'preferences that are none',
      {
        recipients: [{ id: 'core', collection: 'teams', preferences: { default: { sms: true } } }],
      },
      '/recipients/0/preferences/default/sms',
    ],
    [
      'channel data that is no object',
      { recipients: ['a'], tenant: { id: 'acme', channel_data: [] } },
      '/tenant/channel_data',
    ],
  ]
  test.each(refused)('is refused with %s', (_name, body, field) => {
    const error = refusal(body)
    expect(error).toMatchObject({ status: 422, code: 'invalid_params' })
    const places = error.errors?.map((violation) => violation.field) ?? [error.message]
    expect(places).toContain(field)
  })

  test('lets objects and tenants have any property, and users any that has no type', () => {
    const recipients = [
      { id: 'core', collection: 'teams', email: 5 },
      { id: 'ada', email: null, preferences: null, plan: { seats: 1 }, created_at: '2026-01-01' },
    ]
    expect(parseTrigger({ recipients }).entities.map(({ properties }) => properties)).toEqual([
      { email: 5 },
      { email: null, plan: { seats: 1 }, created_at: '2026-01-01' },
    ])
  })

  test('lists all that is wrong at once', () => {
    expect(refusal({ recipients: [], data: 1, actor: 2 }).errors).toHaveLength(3)
  })
})
