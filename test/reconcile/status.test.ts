import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { Revision } from '../../src/ids.ts'
import { invalidFiles, REASONS, refMissing, short } from '../../src/reconcile/status.ts'
import type { Diagnostic } from '../../src/workflow/diagnostic.ts'

const PAGE = new URL('../../docs/spec/environment-state.md', import.meta.url)
const LIVE = 'a'.repeat(40) as Revision

describe('status', () => {
  test('has a row in docs/spec/environment-state.md for each reason, and no other', () => {
    const rows = readFileSync(PAGE, 'utf8').matchAll(/^\| `(\w+)` \| `(\w+)` \|/gm)
    const documented = [...rows].map(([, state, reason]) => [reason, state])
    expect(Object.fromEntries(documented)).toEqual(REASONS)
  })

  test('says what to do, and what is live meanwhile', () => {
    expect(refMissing('staging', LIVE).message).toBe(
      'There is no branch staging. Create it or push it; it is picked up by itself. Revision aaaaaaaaaaaa stays live.',
    )
    const problem: Diagnostic = {
      path: 'workflows/a1/workflow.yaml',
      line: 3,
      column: 5,
      code: 'unknown_key',
      message: 'unknown key "stpes"',
      severity: 'error',
    }
    const { message } = invalidFiles(LIVE, [problem, { ...problem, line: 9 }], null)
    expect(message).toContain('2 problems, the first at workflows/a1/workflow.yaml:3:5 unknown key')
    expect(message).toContain('Nothing was applied before.')
  })

  test('shortens a commit, and keeps the tree of a working tree', () => {
    expect(short(LIVE)).toBe('aaaaaaaaaaaa')
    expect(short(`${LIVE}+0123456789ab` as Revision)).toBe('aaaaaaaaaaaa+0123456789ab')
  })
})
