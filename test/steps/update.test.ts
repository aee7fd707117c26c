import { describe, expect, test } from 'vitest'
import type { StepRef } from '../../src/ids.ts'
import { updateData, updateObject, updateRecipient, updateTenant } from '../../src/steps/update.ts'
import { aContext } from './context.ts'

const ref = 'note' as StepRef
const properties = { plan: 'gold' }
const target = (collection: string) => ({
  kind: 'update',
  target: { kind: 'entity', collection, id: 'bob' },
})

describe('an update', () => {
  test('is of the recipient, tenant or data of the run', () => {
    const context = aContext()
    const step = { ref, properties }
    for (const [type, kind] of [
      [updateRecipient, 'recipient'],
      [updateTenant, 'tenant'],
      [updateData, 'data'],
    ] as const) {
      const outcome = type.execute(step, context)
      expect(outcome).toEqual({ kind: 'update', target: { kind }, properties })
    }
  })

  test('is of another one where the step names it', () => {
    const step = { ref, properties, id: ' bob ' }
    expect(updateRecipient.execute(step, aContext())).toMatchObject(target('$users'))
    expect(updateTenant.execute(step, aContext())).toMatchObject(target('$tenants'))
    const object = updateObject.execute({ ...step, collection: 'pages' }, aContext())
    expect(object).toMatchObject(target('pages'))
  })

  test('is skipped where a name is empty', () => {
    const skipped = { kind: 'skip', reason: 'target_missing' }
    const step = { ref, properties, id: ' ', collection: 'pages' }
    expect(updateRecipient.execute(step, aContext())).toEqual(skipped)
    expect(updateTenant.execute(step, aContext())).toEqual(skipped)
    expect(updateObject.execute(step, aContext())).toEqual(skipped)
    expect(updateObject.execute({ ...step, id: 'a', collection: '' }, aContext())).toEqual(skipped)
  })

  test('shows its templates, in which no secret may stand', () => {
    const step = { ref, id: 'a', collection: 'b', properties: { one: { two: ['c', 1] } } }
    expect(updateObject.templates(step)).toEqual([
      { path: ['collection'], template: 'b', kind: 'line', secrets: false },
      { path: ['id'], template: 'a', kind: 'line', secrets: false },
      { path: ['properties', 'one', 'two', 0], template: 'c', kind: 'text', secrets: false },
    ])
  })

  test.each(['id', 'collection', '__typename', 'updated_at', 'channel_data', 'preferences'])(
    'cannot be of the property %s',
    (name) => {
      const step = { ref, properties: { [name]: 'x', fine: 'y' } }
      const problem = { path: ['properties', name], code: 'reserved_property' }
      expect(updateRecipient.check?.(step)).toMatchObject([problem])
      expect(updateTenant.check?.(step)).toMatchObject([problem])
      expect(updateObject.check?.({ ...step, id: 'a', collection: 'b' })).toMatchObject([problem])
    },
  )
})
