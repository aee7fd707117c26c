import type { Step } from '../steps/index.ts'
import type { StepEvent } from '../steps/step.ts'
import type { QueuedRun, StepRecord, TimelineEvent } from './run.ts'

/** Collects what happens to one run in one piece of work, step by step. */
export class TimelineWriter {
  readonly #run: QueuedRun
  readonly #at: string
  readonly #records: StepRecord[] = []
  #events: TimelineEvent[] = []
  #attempt: number
  errorCount: number

  constructor(run: QueuedRun, now: Date) {
    this.#run = run
    this.#at = now.toISOString()
    this.#attempt = run.attempt
    this.errorCount = run.errorCount
  }

  add(event: string, data: Readonly<Record<string, unknown>> | null = null): void {
    this.#push({ event, status: 'ok', ...(data && { data }) })
  }

  fail(event: string, data: Readonly<Record<string, unknown>>): void {
    this.#push({ event, status: 'error', data })
  }

  addAll(events: readonly StepEvent[] | undefined): void {
    for (const event of events ?? []) this.#push(event)
  }

  /** Ends the entry of a step (of the trigger where there is none); the next events belong to the next step. */
  close(step: Step | null): void {
    if (this.#events.length > 0) {
      const number = this.#run.steps + this.#records.length
      const ref = step?.ref ?? null
      this.#records.push({ number, ref, type: step?.type ?? null, events: this.#events })
    }
    this.#events = []
    this.#attempt = 0
  }

  records(): readonly StepRecord[] {
    return this.#records
  }

  #push({
    event,
    status,
    data = null,
  }: {
    event: string
    status: 'ok' | 'error'
    data?: StepEvent['data'] | null
  }): void {
    if (status === 'error') this.errorCount += 1
    this.#events.push({
      event,
      status,
      attempt: this.#attempt + 1,
      data: data ?? null,
      at: this.#at,
    })
  }
}
