import type { Database, Queryable, Transaction } from '../../src/db/database.ts'

/**
 * The same database, and how many statements were sent to it. What the queue sends outside of a transaction is
 * not counted: it looks for work, and after itself, at times of its own.
 */
export function counted(database: Database): { database: Database; count: () => number } {
  let count = 0
  const counting = <Target extends Queryable>(target: Target): Target => ({
    ...target,
    query: (statement) => {
      count += 1
      return target.query(statement)
    },
    execute: (text, values) => {
      count += 1
      return target.execute(text, values)
    },
  })
  const transaction: Database['transaction'] = (work) =>
    database.transaction((tx: Transaction) => work(counting(tx)))
  const outside = { ...counting(database), transaction }
  outside.execute = (text, values) => database.execute(text, values)
  return { database: outside, count: () => count }
}
