import { assert, dictionary, jsonValue, property, string } from 'fast-check'
import { expect, test } from 'vitest'
import { mergeProperties } from '../../src/recipients/merge.ts'
import type { Properties } from '../../src/recipients/merge.ts'

test.each<[string, Properties, Properties, Properties]>([
  ['a new key is added', { a: 1 }, { b: 2 }, { a: 1, b: 2 }],
  ['a known key is replaced', { a: 1 }, { a: 2 }, { a: 2 }],
  ['null clears a key', { a: 1, b: 2 }, { a: null }, { b: 2 }],
  ['null clears a key that is not there', {}, { a: null }, {}],
  [
    'objects are merged at every depth',
    { a: { b: { c: 1 }, d: 1 } },
    { a: { b: { e: 2 } } },
    { a: { b: { c: 1, e: 2 }, d: 1 } },
  ],
  [
    'null clears at every depth',
    { a: { b: { c: 1, d: 2 } } },
    { a: { b: { c: null } } },
    { a: { b: { d: 2 } } },
  ],
  ['a new object keeps no null', {}, { a: { b: null, c: { d: null } } }, { a: { c: {} } }],
  ['a list replaces a list', { a: [1, 2, 3] }, { a: [4] }, { a: [4] }],
  ['a null in a list stays', {}, { a: [null, 1] }, { a: [null, 1] }],
  [
    'an object replaces what is none',
    { a: 1, b: [1] },
    { a: { c: 1 }, b: { c: 1 } },
    { a: { c: 1 }, b: { c: 1 } },
  ],
  ['what is no object replaces one', { a: { b: 1 } }, { a: 'x' }, { a: 'x' }],
  ['an empty patch changes nothing', { a: { b: 1 } }, {}, { a: { b: 1 } }],
  ['an empty object changes nothing', { a: { b: 1 } }, { a: {} }, { a: { b: 1 } }],
])('%s', (_rule, base, patch, expected) => {
  expect(mergeProperties(base, patch)).toEqual(expected)
})

test('a key named __proto__ is a key like any other', () => {
  const patch = JSON.parse('{"__proto__": {"admin": true}}') as Properties
  const merged = mergeProperties({ a: 1 }, patch)
  expect(JSON.stringify(merged)).toBe('{"a":1,"__proto__":{"admin":true}}')
  expect((merged as { admin?: boolean }).admin).toBeUndefined()
})

const objects = dictionary(string(), jsonValue({ maxDepth: 3 }))
const text = (value: unknown) => JSON.stringify(value)

test('a patch given twice is a patch given once, and changes neither side', () => {
  const rule = property(objects, objects, (base, patch) => {
    const before = text([base, patch])
    const once = mergeProperties(base, patch)
    return text(mergeProperties(once, patch)) === text(once) && text([base, patch]) === before
  })
  expect(() => assert(rule)).not.toThrow()
})

test('every key says what the patch says of it, else what it said before', () => {
  const rule = property(objects, objects, (base, patch) => {
    const merged = mergeProperties(base, patch)
    const keys = new Set([...Object.keys(base), ...Object.keys(patch)])
    return [...keys].every((key) => {
      if (!Object.hasOwn(patch, key)) return text(merged[key]) === text(base[key])
      const value = patch[key]
      if (value === null) return !Object.hasOwn(merged, key)
      if (typeof value !== 'object' || Array.isArray(value))
        return text(merged[key]) === text(value)
      return typeof merged[key] === 'object' && !Array.isArray(merged[key])
    })
  })
  expect(() => assert(rule)).not.toThrow()
})
