/** What was measured, what stands beside it, and how the two compare. */
export interface Figure {
  readonly what: string
  readonly ours: string
  readonly beside: string
  readonly ratio: string
  /** What it is to come to, and whether it does; left out where nothing is promised. */
  readonly reach?: Reach
}

export interface Reach {
  readonly text: string
  readonly met: boolean
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

/** The median, and what one in a hundred goes beyond. */
export function spread(values: readonly number[]): string {
  return `${milliseconds(median(values))} / ${milliseconds(quantile(values, 0.99))}`
}

export function times(ours: number, beside: number): string {
  return `${(ours / beside).toFixed(2)} x`
}

export function atLeast(ratio: number, reach: number): Reach {
  return { text: `>= ${reach} x`, met: ratio >= reach }
}

/** Milliseconds, each with what it may be: the median, or the median and the 99th of a hundred. */
export function within(...values: readonly (readonly [ms: number, most: number])[]): Reach {
  return {
    text: `<= ${values.map(([, most]) => milliseconds(most)).join(' / ')}`,
    met: values.every(([ms, most]) => ms <= most),
  }
}

export function print(figures: readonly Figure[]): void {
  const rows = [
    ['what', 'Belfry', 'beside it', 'ratio', 'to reach', ''],
    ...figures.map(({ what, ours, beside, ratio, reach }) => [
      what,
      ours,
      beside,
      ratio,
      reach?.text ?? '',
      reach ? (reach.met ? 'met' : 'NOT MET') : '',
    ]),
  ]
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  for (const row of rows) {
    const line = row.map((cell, column) => cell.padEnd(widths[column]!)).join('  ')
    process.stdout.write(`${line.trimEnd()}\n`)
  }
}
