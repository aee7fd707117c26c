import { expect } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { test } from '../support/database.ts'
import { BatchPlay } from './batch-model.ts'
import { ENVIRONMENT } from './simulated-runs.ts'

const SCRIPTS = 8
/** A second or two, but not on a busy machine. */
const TIMEOUT_MS = 90_000

test(
  'batches in Postgres answer as a plain list does, whoever comes, looks, leaves or dies',
  async ({ database }) => {
    await database.query(sql`
    insert into environments (name, git_ref, declared, state, reason, message, updated_at)
    values (${ENVIRONMENT}, 'main', true, 'ready', 'applied', '', ${new Date(0)})
  `)
    const kinds = new Set<string>()
    for (let seed = 1; seed <= SCRIPTS; seed += 1) {
      const play = new BatchPlay(database, seed)
      await play.play()
      for (const kind of play.kinds) kinds.add(kind)
    }
    // Each answer came up, or the scripts do not try much.
    expect([...kinds].toSorted()).toEqual([
      'cancelled',
      'closed',
      'early',
      'gone',
      'joined',
      'kept',
      'opened',
      'passed',
    ])
  },
  TIMEOUT_MS,
)
