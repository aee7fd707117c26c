import { expect, test } from 'vitest'
import { didYouMean, suggest } from '../../src/language/text.ts'

test('suggests the nearest word', () => {
  expect(suggest('uper', ['lower', 'upper'])).toBe('upper')
  expect(suggest('equal_too', ['equal_to', 'not_equal_to'])).toBe('equal_to')
  expect(suggest('eahc', ['each', 'with'])).toBe('each')
})

test('suggests nothing where no word is near', () => {
  expect(suggest('banana', ['each', 'with'])).toBeUndefined()
  expect(suggest('x', ['each'])).toBeUndefined()
  expect(suggest('', ['each'])).toBeUndefined()
})

test('a hint is a question, or nothing', () => {
  expect(didYouMean('iff', ['if'])).toEqual({ hint: 'did you mean "if"?' })
  expect(didYouMean('banana', ['if'])).toEqual({})
})
