import type { Metrics } from '../../src/metrics.ts'

export interface Recorder extends Metrics {
  /** What was counted under this name and these labels. */
  counted(name: string, labels?: Readonly<Record<string, string>>): number
  /** What was observed under this name and these labels, in order. */
  observed(name: string, labels?: Readonly<Record<string, string>>): readonly number[]
}

function keyOf(name: string, labels: Readonly<Record<string, string>> = {}): string {
  const words = Object.entries(labels).map(([label, value]) => `${label}=${value}`)
  return [name, ...words.toSorted()].join(' ')
}

/** Keeps what rooms count. */
export function recorder(): Recorder {
  const counts = new Map<string, number>()
  const values = new Map<string, number[]>()
  return {
    stopwatch: () => () => 0.25,
    count(name, labels, by = 1) {
      const key = keyOf(name, labels)
      counts.set(key, (counts.get(key) ?? 0) + by)
    },
    observe(name, labels, value) {
      const key = keyOf(name, labels)
      values.set(key, [...(values.get(key) ?? []), value])
    },
    counted: (name, labels) => counts.get(keyOf(name, labels)) ?? 0,
    observed: (name, labels) => values.get(keyOf(name, labels)) ?? [],
  }
}
