import type { Database, Queryable, Transaction } from '../../src/db/database.ts'

interface PlanNode {
  readonly 'Node Type': string
  readonly 'Relation Name'?: string
  readonly 'Index Name'?: string
  readonly Plans?: readonly PlanNode[]
}

/**
 * The same database, which also asks Postgres for the plan of each statement of ours, and how each of them gets at the rows
 * of `table`: an index by its name, or `Seq Scan`.
 */
export function explained(
  database: Database,
  table: string,
): { readonly database: Database; readonly ways: () => readonly string[] } {
  const ways = new Set<string>()
  const note = (node: PlanNode): void => {
    const way = node['Index Name'] ?? node['Node Type']
    if (node['Relation Name'] === table && node['Node Type'].includes('Scan')) ways.add(way)
    for (const inner of node.Plans ?? []) note(inner)
  }
  const explaining = <Target extends Queryable>(target: Target): Target => ({
    ...target,
    query: async (statement) => {
      const text = `explain (format json) ${statement.text}`
      const { rows } = await target.execute(text, [...statement.values])
      const [row] = rows as readonly { 'QUERY PLAN': readonly { readonly Plan: PlanNode }[] }[]
      for (const { Plan: plan } of row?.['QUERY PLAN'] ?? []) note(plan)
      return target.query(statement)
    },
  })
  const transaction: Database['transaction'] = (work) =>
    database.transaction((tx: Transaction) => work(explaining(tx)))
  return { database: { ...explaining(database), transaction }, ways: () => [...ways].toSorted() }
}
