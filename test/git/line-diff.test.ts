import { describe, expect, test } from 'vitest'
import { diffLines } from '../../src/git/line-diff.ts'
import { mergeText } from '../../src/git/merge-text.ts'

function merged(base: string, ours: string, theirs: string): string | null {
  const [one, other, third] = [base, ours, theirs].map((text) => Buffer.from(text))
  const found = mergeText(one!, other!, third!)
  return found.kind === 'clean' ? String(Buffer.from(found.content)) : null
}

const bytes = (text: string) => Buffer.from(text, 'latin1')

describe('two texts', () => {
  test('differ in the lines that are others', () => {
    expect(diffLines(['a', 'b', 'c'], ['a', 'x', 'y', 'c'])).toEqual([
      { oldAt: 1, oldCount: 1, newAt: 1, newCount: 2 },
    ])
    expect(diffLines(['a'], ['a'])).toEqual([])
    expect(diffLines([], ['a'])).toEqual([{ oldAt: 0, oldCount: 0, newAt: 0, newCount: 1 }])
  })

  test('differ as far down as equal lines allow', () => {
    expect(diffLines(['a', 'b'], ['a', 'b', 'b'])).toEqual([
      { oldAt: 2, oldCount: 0, newAt: 2, newCount: 1 },
    ])
  })
})

describe('two changes of a text', () => {
  test('are joined where a line stands between them', () => {
    expect(merged('a\nb\nc\n', 'A\nb\nc\n', 'a\nb\nC\n')).toBe('A\nb\nC\n')
  })

  test('conflict where they touch', () => {
    expect(merged('a\nb\n', 'A\nb\n', 'a\nB\n')).toBeNull()
  })

  test('are one where they are the same', () => {
    expect(merged('a\nb\n', 'A\nb\n', 'A\nb\n')).toBe('A\nb\n')
    expect(merged('', 'a\nb\n', 'a\nb\n')).toBe('a\nb\n')
  })

  test('keep bytes that are no UTF-8, and a last line without an end', () => {
    const found = mergeText(bytes('\xe9\nb\nc'), bytes('\xe8\nb\nc'), bytes('\xe9\nb\nd'))
    expect(found).toEqual({ kind: 'clean', content: bytes('\xe8\nb\nd') })
  })

  test('conflict in a binary file', () => {
    expect(merged('a\0\nb\nc\n', 'A\0\nb\nc\n', 'a\0\nb\nC\n')).toBeNull()
  })
})
