import { expect, test } from 'vitest'
import { simulate } from './simulation.ts'

const SCRIPTS = 10_000

test('ten thousand random scripts, other ones each time, end each run once', () => {
  const first = Math.floor(Math.random() * 2 ** 31)
  process.stdout.write(`simulation: seeds from ${first}\n`)
  for (let seed = first; seed < first + SCRIPTS; seed += 1)
    expect(simulate(seed).outcomes).not.toContain('open')
})
