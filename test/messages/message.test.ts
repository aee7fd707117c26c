import { assert, constantFrom, double, integer, oneof, option, property, record } from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Answer } from '../../src/channels/provider.ts'
import {
  ATTEMPTS_MAX,
  BACK_OFF_MS,
  settle,
  settleLost,
  settleReleased,
  settleUnsent,
  THROTTLE_MS_MAX,
} from '../../src/messages/message.ts'
import type { Claimed, Settlement } from '../../src/messages/message.ts'

const now = new Date('2030-01-01T00:00:00Z')
const exchange = {
  request: { method: 'POST', host: 'example.com', path: '/', headers: {}, body: null },
  response: null,
}
const options = { now, random: 0.5 }

function aClaimed(message: Partial<Claimed> = {}): Claimed {
  return {
    attempt: 1,
    status: 'queued',
    reason: null,
    plannedAt: now,
    cancelled: false,
    ambiguous: false,
    onAmbiguous: 'retry',
    ...message,
  }
}

const failed: Answer = { kind: 'failed', details: 'no answer', exchange }
const throttled: Answer = { kind: 'throttled', details: '429', exchange }
const channelRefused = { kind: 'failed', channel: true, details: '401', exchange } as const
const unknown: Answer = { kind: 'unknown', details: 'silence', exchange }

function waitMs(settlement: Settlement): number | null {
  return settlement.dueAt && settlement.dueAt.getTime() - now.getTime()
}

describe('the next state', () => {
  test.each([
    ['accepted', { kind: 'accepted', status: 'sent', reference: 'ref-1', exchange }, 'sent', null],
    [
      'rejected by the provider',
      { kind: 'rejected', reason: 'provider_rejected', details: '', exchange },
      'undelivered',
      'provider_rejected',
    ],
    [
      'sent to an address that is no more',
      { kind: 'bounced', reason: 'address_gone', details: '', exchange },
      'bounced',
      'address_gone',
    ],
    [
      'refused before anything went out',
      { kind: 'rejected', reason: 'invalid_address', details: '', exchange: null },
      'not_sent',
      'invalid_address',
    ],
  ] as const)('of a message that was %s is final', (_case, answer, status, reason) => {
    expect(settle(aClaimed(), answer, options)).toMatchObject({
      status,
      reason,
      dueAt: null,
      attempt: 1,
    })
  })

  test('of a failed one is another attempt, each after about three times as long, for 30 minutes', () => {
    const waits = BACK_OFF_MS.map((_, index) =>
      waitMs(settle(aClaimed({ attempt: index + 1 }), failed, options)),
    )
    expect(waits).toEqual(BACK_OFF_MS)
    expect(BACK_OFF_MS.reduce((all, wait) => all + wait)).toBe(30 * 60_000)
    expect(settle(aClaimed({ attempt: ATTEMPTS_MAX }), failed, options)).toMatchObject({
      status: 'undelivered',
      reason: 'attempts_exhausted',
      dueAt: null,
    })
  })

  test('of a failed one honours a longer Retry-After', () => {
    expect(waitMs(settle(aClaimed(), { ...failed, retryAfterMs: 90_000 }, options))).toBe(90_000)
    expect(waitMs(settle(aClaimed(), { ...failed, retryAfterMs: 10 }, options))).toBe(2_000)
  })

  test('of a failed one has its end within an hour, whatever Retry-After says', () => {
    const asked = { ...failed, retryAfterMs: 3_600_000 }
    const slow = { ...options, random: 1 }
    const waits = BACK_OFF_MS.map((_, index) =>
      waitMs(settle(aClaimed({ attempt: index + 1 }), asked, slow)),
    )
    expect(waits[0]).toBe(300_000)
    expect(waits.map(Number).reduce((all, wait) => all + wait)).toBeLessThanOrEqual(3_600_000)
  })

  test('of a throttled one uses up no attempt and changes no status', () => {
    expect(settle(aClaimed({ attempt: 3, status: 'queued' }), throttled, options)).toMatchObject({
      status: 'queued',
      reason: 'throttled',
      attempt: 2,
    })
    expect(waitMs(settle(aClaimed(), { ...throttled, retryAfterMs: 7_000 }, options))).toBe(7_000)
  })

  test('of one that was throttled for a day is undelivered', () => {
    const plannedAt = new Date(now.getTime() - THROTTLE_MS_MAX)
    expect(settle(aClaimed({ plannedAt }), throttled, options)).toMatchObject({
      status: 'undelivered',
      reason: 'expired',
    })
  })

  test('of one of unknown outcome is what its channel says', () => {
    expect(settle(aClaimed(), unknown, options)).toMatchObject({
      status: 'delivery_attempted',
      reason: 'handover_unknown',
      dueAt: new Date(now.getTime() + 2_000),
    })
    expect(settle(aClaimed({ onAmbiguous: 'hold' }), unknown, options)).toMatchObject({
      status: 'delivery_attempted',
      reason: 'handover_unknown',
      dueAt: null,
    })
  })

  test('of one that was lost is due at once', () => {
    expect(settleLost(aClaimed({ attempt: 5 }), options).dueAt).toEqual(now)
    expect(settleLost(aClaimed({ onAmbiguous: 'hold' }), options).dueAt).toBeNull()
  })

  test('of one cancelled meanwhile has no further attempt', () => {
    const cancelled = aClaimed({ cancelled: true })
    expect(settle(cancelled, failed, options)).toMatchObject({
      status: 'not_sent',
      reason: 'cancelled',
    })
    expect(settle(cancelled, throttled, options)).toMatchObject({
      status: 'not_sent',
      reason: 'cancelled',
    })
    // It may have been delivered: that is not the same as not sent.
    expect(settle(cancelled, unknown, options)).toMatchObject({
      status: 'undelivered',
      reason: 'handover_unknown',
      dueAt: null,
    })
  })

  test('of one that may have gone out earlier never says that nothing went out', () => {
    const refused: Answer = {
      kind: 'rejected',
      reason: 'forbidden_target',
      details: '',
      exchange: null,
    }
    const message = aClaimed({ attempt: 3, status: 'delivery_attempted', ambiguous: true })
    const cancelled = { ...message, cancelled: true }
    const cases = [
      [settleUnsent(message, 'workflow_inactive'), 'workflow_inactive', 2],
      [settle(cancelled, failed, options), 'cancelled', 3],
      [settle(cancelled, throttled, options), 'cancelled', 2],
      [settle(message, refused, options), 'forbidden_target', 3],
    ] as const
    for (const [settlement, cause, attempt] of cases) {
      const data = { reason: 'handover_unknown', stopped_by: cause, ambiguous: true }
      expect(settlement).toMatchObject({
        status: 'undelivered',
        reason: 'handover_unknown',
        dueAt: null,
        attempt,
        happenings: [{ type: 'message.undelivered', data }],
      })
    }
  })

  test('of one that was not handed over after all has its attempt back', () => {
    expect(settleUnsent(aClaimed({ attempt: 4 }), 'workflow_inactive')).toMatchObject({
      attempt: 3,
      status: 'not_sent',
    })
    expect(settleReleased(aClaimed({ attempt: 4 }), options)).toMatchObject({
      attempt: 3,
      dueAt: now,
      happenings: [],
    })
  })
})

const claimed = record({
  attempt: integer({ min: 1, max: ATTEMPTS_MAX }),
  status: constantFrom('queued' as const, 'delivery_attempted' as const),
  reason: constantFrom(null, 'throttled'),
  plannedAt: integer({ min: 0, max: 2 * THROTTLE_MS_MAX }).map(
    (age) => new Date(now.getTime() - age),
  ),
  cancelled: constantFrom(true, false),
  ambiguous: constantFrom(true, false),
  onAmbiguous: constantFrom('retry' as const, 'hold' as const),
})
const wait = option(integer({ min: 0, max: 2 * THROTTLE_MS_MAX }), { nil: undefined })
const answers = oneof(
  constantFrom<Answer>(
    { kind: 'accepted', status: 'sent', reference: null, exchange },
    { kind: 'accepted', status: 'delivered', reference: null, exchange },
    { kind: 'rejected', reason: 'x', details: '', exchange },
    { kind: 'rejected', reason: 'x', details: '', exchange: null },
    { kind: 'bounced', reason: 'x', details: '', exchange },
    unknown,
  ),
  wait.map((ms): Answer => ({ ...failed, ...(ms !== undefined && { retryAfterMs: ms }) })),
  wait.map((ms): Answer => ({ ...channelRefused, ...(ms !== undefined && { retryAfterMs: ms }) })),
  wait.map((ms): Answer => ({ ...throttled, ...(ms !== undefined && { retryAfterMs: ms }) })),
)

function isRefused(answer: Answer): boolean {
  return answer.kind === 'failed' && answer.channel === true
}

test('every answer leads to one documented state, and the message says what happened', () => {
  const open = new Set(['queued', 'delivery_attempted'])
  const rule = property(
    claimed,
    answers,
    double({ min: 0, max: 1, noNaN: true }),
    (message, answer, random) => {
      const settlement = settle(message, answer, { now, random })
      const held = settlement.reason === 'handover_unknown' && message.onAmbiguous === 'hold'
      const tried = message.attempt - settlement.attempt
      const isDue = settlement.dueAt !== null
      const isOpen = open.has(settlement.status)
      return [
        settlement.happenings.length === 1,
        // Only an open message is due again, and only a held one is open without being due.
        isOpen ? isDue || held : !isDue,
        !isDue || (settlement.dueAt > now && !message.cancelled),
        tried === (answer.kind === 'throttled' || isRefused(answer) ? 1 : 0),
      ].every(Boolean)
    },
  )
  expect(() => assert(rule)).not.toThrow()
})

test('a provider that always answers the same brings every message to an end', () => {
  const later = { ...channelRefused, retryAfterMs: 300_000 }
  for (const answer of [failed, later, unknown, throttled, { ...throttled, retryAfterMs: 0 }]) {
    let [at, tries, attempt] = [now, 0, 0]
    for (;;) {
      const message = aClaimed({ attempt: attempt + 1, plannedAt: now })
      const settlement = settle(message, answer, { now: at, random: 0 })
      tries += 1
      if (settlement.dueAt === null) break
      at = settlement.dueAt
      attempt = settlement.attempt
    }
    expect(at.getTime() - now.getTime()).toBeLessThanOrEqual(THROTTLE_MS_MAX)
    expect(tries).toBeLessThan(300)
  }
})
