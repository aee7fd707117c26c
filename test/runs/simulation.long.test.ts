import { expect, test } from 'vitest'
import { simulate } from './simulation.ts'

/** More of them, or those from a seed again: `SIMULATION_SCRIPTS=100000 FAULT_SEED=7`. */
const SCRIPTS = Number(process.env['SIMULATION_SCRIPTS'] ?? 10_000)

test(`${SCRIPTS} random scripts, other ones each time, end each run once`, () => {
  const first = Number(process.env['FAULT_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
  process.stdout.write(`simulation: seeds from ${first}\n`)
  for (let seed = first; seed < first + SCRIPTS; seed += 1)
    expect(simulate(seed).outcomes).not.toContain('open')
})
