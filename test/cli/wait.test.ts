import { describe, expect, test } from 'vitest'
import type { Verdict } from '../../src/cli/wait.ts'
import { judgeAll, judgeWait } from '../../src/cli/wait.ts'
import type { WireEnvironment } from '../../src/cli/wire.ts'
import { REASONS, type Reason } from '../../src/reconcile/status.ts'
import { startHttp } from '../support/http.ts'
import { run } from './program-support.ts'

const OLD = 'a'.repeat(40)
const NEW = 'b'.repeat(40)
const LATER = 'c'.repeat(40)

function stands(reason: Reason, revisions: Partial<WireEnvironment> = {}): WireEnvironment {
  return {
    name: 'production',
    ref: 'production',
    state: REASONS[reason],
    reason,
    message: 'It stands so.',
    observed_revision: OLD,
    attempted_revision: OLD,
    last_handled_request: null,
    applied_at: null,
    workflows: 1,
    pinned: null,
    sending: { active: true, reason: null, expires_at: null },
    drift: null,
    diagnostics: [],
    ...revisions,
  }
}

interface Expected {
  /** Without a revision. */
  readonly plain: Verdict
  /** With one that is live. */
  readonly live: Verdict
  /** With one that is not, and was not the last that was read. */
  readonly unread: Verdict
  /** With one that is not, and was the last that was read. */
  readonly read: Verdict
}

const EXPECTED: Readonly<Record<Reason, Expected>> = {
  applied: { plain: 0, live: 0, unread: 'wait', read: 'wait' },
  pinned: { plain: 0, live: 0, unread: 1, read: 1 },
  progressing: { plain: 'wait', live: 'wait', unread: 'wait', read: 'wait' },
  retrying: { plain: 'wait', live: 'wait', unread: 'wait', read: 'wait' },
  invalid_files: { plain: 1, live: 1, unread: 'wait', read: 1 },
  prune_guard: { plain: 1, live: 1, unread: 'wait', read: 1 },
  out_of_order: { plain: 1, live: 1, unread: 'wait', read: 1 },
  history_rewritten: { plain: 1, live: 1, unread: 'wait', read: 1 },
  unsigned: { plain: 1, live: 1, unread: 'wait', read: 1 },
  undeclared: { plain: 1, live: 1, unread: 1, read: 1 },
  unsupported_repository: { plain: 1, live: 1, unread: 1, read: 1 },
  authentication: { plain: 1, live: 1, unread: 1, read: 1 },
  repository_missing: { plain: 1, live: 1, unread: 1, read: 1 },
  default_branch_changed: { plain: 1, live: 1, unread: 1, read: 1 },
  drift: { plain: 1, live: 1, unread: 'wait', read: 'wait' },
  suspended: { plain: 1, live: 1, unread: 1, read: 1 },
  retired: { plain: 1, live: 1, unread: 1, read: 1 },
  ref_missing: { plain: 1, live: 1, unread: 'wait', read: 'wait' },
  soaking: { plain: 1, live: 1, unread: 'wait', read: 'wait' },
}

describe('waiting for an environment', () => {
  test.for(Object.entries(EXPECTED))('ends by the reason %s', ([name, expected]) => {
    const reason = name as Reason
    const found = {
      plain: judgeWait(stands(reason), undefined),
      live: judgeWait(stands(reason), OLD.slice(0, 7)),
      unread: judgeWait(stands(reason, { attempted_revision: LATER }), NEW),
      read: judgeWait(stands(reason, { attempted_revision: NEW }), NEW),
    }
    expect(found).toEqual(expected)
  })

  test('knows each reason that there is', () => {
    expect(Object.keys(EXPECTED).toSorted()).toEqual(Object.keys(REASONS).toSorted())
  })

  test('of several ends where none is reconciling, and finds a stalled one', () => {
    expect(judgeAll([stands('applied'), stands('suspended'), stands('ref_missing')])).toBe(0)
    expect(judgeAll([stands('applied'), stands('invalid_files')])).toBe(1)
    expect(judgeAll([stands('retrying'), stands('invalid_files')])).toBe('wait')
    expect(judgeAll([])).toBe('wait')
  })
})

/** Answers what the list says, one after the other, and the last for ever. */
async function serveStates(states: readonly (WireEnvironment | number)[]) {
  let asked = 0
  return startHttp(({ path }, response) => {
    if (!path.endsWith('/production')) {
      response.writeHead(404).end('{}')
      return
    }
    const state = states[Math.min(asked, states.length - 1)]!
    asked += 1
    if (typeof state === 'number') {
      const missing = { code: 'environment_missing', message: 'there is no environment' }
      response.writeHead(state).end(JSON.stringify(missing))
      return
    }
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(state))
  })
}

/** Runs the command on a server that answers so. */
async function wait(states: readonly (WireEnvironment | number)[], ...more: readonly string[]) {
  await using server = await serveStates(states)
  const argv = ['status', 'production', '--wait', '--timeout', '1', ...more]
  const ran = await run(argv, { settings: { url: server.url } })
  return { ...ran, asked: server.requests.length }
}

describe('belfry status --wait', () => {
  test('waits until the revision is live', async () => {
    const states = [
      404,
      stands('applied'),
      stands('progressing', { attempted_revision: NEW }),
      stands('applied', { observed_revision: NEW, attempted_revision: NEW }),
    ]
    const { code, asked, out } = await wait(states, '--revision', NEW)
    expect({ code, asked }).toEqual({ code: 0, asked: 4 })
    expect(out).toContain(NEW.slice(0, 12))
  })

  test('exits 1 where the revision was refused', async () => {
    const states = [stands('applied'), stands('invalid_files', { attempted_revision: NEW })]
    expect(await wait(states, '--revision', NEW)).toMatchObject({ code: 1, asked: 2 })
  })

  test('exits 2 where the time is up, and says so', async () => {
    const { code, error } = await wait([stands('applied')], '--revision', NEW)
    expect({ code, error }).toEqual({
      code: 2,
      error: expect.stringContaining('it did not come to an end in time'),
    })
    expect(await wait([stands('retrying')])).toMatchObject({ code: 2 })
  })

  test('refuses what makes no sense', async () => {
    for (const argv of [
      ['status', 'production', '--revision', NEW],
      ['status', '--wait', '--revision', NEW],
      ['status', 'production', '--wait', '--revision', 'main'],
      ['status', 'production', '--wait', '--timeout', 'long'],
    ]) {
      expect(await run(argv)).toMatchObject({ code: 2, out: '' })
    }
    expect(await wait([404])).toMatchObject({ code: 1, asked: 1 })
  })
})
