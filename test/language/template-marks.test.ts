import { expect, test } from 'vitest'
import { lostTag, mark, unmark } from '../../src/language/template-marks.ts'

const SOURCE = 'a{{! gone }}{{#if x}}<b {{y}}>{{{content}}}{{~else~}}{{> p a="}}"}}{{/if}}\\{{raw}}'

test('tags become marks and come back, comments but left out', () => {
  const marked = mark(SOURCE)!
  expect(marked.text).not.toContain('{{#')
  expect(marked.tags.map(({ source }) => source)).toEqual([
    '{{#if x}}',
    '{{y}}',
    '{{{content}}}',
    '{{~else~}}',
    '{{> p a="}}"}}',
    '{{/if}}',
  ])
  expect(unmark(marked, marked.text)).toBe(SOURCE.replace('{{! gone }}', ''))
  // A tool writes a mark that stands as an attribute with a value.
  expect(unmark(marked, marked.text.replace('\ue001>', '\ue001="">'))).toContain('<b {{y}}>')
  expect(mark('\ue000')).toBeUndefined()
})

test('a tag that is gone, moved or doubled is found, but a value may stand twice', () => {
  const marked = mark('{{#if x}}{{y}}{{else}}{{z}}{{/if}}')!
  const at = (order: readonly number[]) =>
    lostTag(marked, order.map((index) => `\ue000${index}\ue001`).join(''))?.source
  expect(at([0, 1, 2, 3, 4])).toBeUndefined()
  expect(at([0, 1, 1, 2, 3, 4])).toBeUndefined()
  expect(at([3, 0, 1, 2, 4])).toBeUndefined()
  expect(at([0, 1, 2, 4])).toBe('{{z}}')
  expect(at([0, 2, 1, 4, 3])).toBeUndefined()
  expect(at([2, 1, 0, 3, 4])).toBe('{{#if x}}')
  expect(at([0, 1, 2, 3, 4, 4])).toBe('{{/if}}')
})
