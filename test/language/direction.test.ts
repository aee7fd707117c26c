import { expect, test } from 'vitest'
import { directionOf } from '../../src/language/direction.ts'

test.each([
  ['he', 'rtl'],
  ['ar-EG', 'rtl'],
  ['fa', 'rtl'],
  ['az-Arab', 'rtl'],
  ['ur-Latn', 'ltr'],
  ['de-AT', 'ltr'],
  ['not a locale', 'ltr'],
  ['', 'ltr'],
  [undefined, 'ltr'],
  [7, 'ltr'],
])('%j is written %s', (locale, direction) => {
  expect(directionOf(locale)).toBe(direction)
  expect(directionOf(locale)).toBe(direction)
})
