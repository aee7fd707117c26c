/** What was measured, what stands beside it, and how the two compare. */
export interface Figure {
  readonly what: string
  readonly ours: string
  readonly beside: string
  readonly ratio: string
}

/** The value below which a share of the values lies. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((left, right) => left - right)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

export function perSecond(count: number, ms: number): number {
  return (count / ms) * 1_000
}

/** Milliseconds that a piece of work took. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await work()
  return performance.now() - start
}

export function milliseconds(ms: number): string {
  return `${ms.toFixed(ms < 10 ? 2 : 0)} ms`
}

export function print(figures: readonly Figure[]): void {
  const rows = [{ what: 'what', ours: 'Belfry', beside: 'beside it', ratio: 'ratio' }, ...figures]
  const widths = (['what', 'ours', 'beside'] as const).map((column) =>
    Math.max(...rows.map((row) => row[column].length)),
  )
  for (const row of rows) {
    const cells = [row.what, row.ours, row.beside].map((cell, index) =>
      cell.padEnd(widths[index] ?? 0),
    )
    process.stdout.write(`${[...cells, row.ratio].join('  ')}\n`)
  }
}
