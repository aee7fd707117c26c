import { expect, test } from 'vitest'
import { formFields, keptField, withOverrides } from '../../src/channels/overrides.ts'

test('maps are merged, null takes a field away, and all else takes the place of what was there', () => {
  const body = { a: { b: 1, c: { d: 2 } }, list: [1, 2], gone: 1, text: 'x' }
  const overrides = { a: { c: { e: 3 }, f: null }, list: [3], gone: null, text: { now: 'a map' } }
  expect(withOverrides(body, overrides)).toEqual({
    a: { b: 1, c: { d: 2, e: 3 } },
    list: [3],
    text: { now: 'a map' },
  })
  expect(body).toEqual({ a: { b: 1, c: { d: 2 } }, list: [1, 2], gone: 1, text: 'x' })
})

test('a name that means something to JavaScript is a name like any other', () => {
  const overrides = JSON.parse('{"__proto__": {"polluted": true}, "constructor": 1}') as object
  const merged = withOverrides({}, overrides as Record<string, unknown>)
  expect(JSON.stringify(merged)).toBe('{"__proto__":{"polluted":true},"constructor":1}')
  expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
})

test('what is kept is found however it is spelled, and in maps that take its place', () => {
  const kept = ['message.token', 'h:*', 'reply_to']
  const found = (overrides: Record<string, unknown>) => keptField(overrides, kept)?.join('.')
  expect(found({ message: { token: 'x' } })).toBe('message.token')
  expect(found({ Message: { TOKEN: 'x' } })).toBe('Message.TOKEN')
  expect(found({ message: { 'to\u212Aen': 'x' } })).toBe('message.to\u212Aen')
  expect(found({ message: null })).toBe('message')
  expect(found({ message: [{ token: 'x' }] })).toBe('message')
  expect(found({ 'h:X-Any': 'x' })).toBe('h:X-Any')
  expect(found({ replyTo: 'x' })).toBe('replyTo')
  expect(found({ message: { android: {} }, html: 'x', token: 'x' })).toBeUndefined()
})

test('a form has texts, repeats lists, and writes maps as JSON', () => {
  expect(
    formFields({ a: 'x', n: 1, b: false, list: ['x', { y: 1 }], map: { z: '\uD800' } }),
  ).toEqual([
    ['a', 'x'],
    ['n', '1'],
    ['b', 'false'],
    ['list', 'x'],
    ['list', '{"y":1}'],
    ['map', '{"z":"\\ud800"}'],
  ])
})
