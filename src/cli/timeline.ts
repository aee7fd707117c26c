import { printable, type Output } from './output.ts'
import type { WireEvent } from './wire.ts'

/** One line for each event of a run: when, at which step, what, and why. */
export function showTimeline(events: readonly WireEvent[], output: Output): string[] {
  const steps = events.map(({ step_ref: ref, step_type: type }) =>
    ref ? `${ref} (${type ?? '?'})` : '',
  )
  const stepWidth = widest(steps)
  const eventWidth = widest(events.map(({ event }) => event))
  return events.map((event, index) => {
    const mark = event.status === 'ok' ? output.style('green', '✓') : output.style('red', '✗')
    const at = output.style('dim', event.inserted_at)
    const step = (steps[index] ?? '').padEnd(stepWidth)
    const tries = event.attempt > 1 ? ` (attempt ${event.attempt})` : ''
    const why = event.data ? describe(event.data) : ''
    return `${mark} ${at}  ${step}  ${event.event.padEnd(eventWidth)}${tries}  ${why}`.trimEnd()
  })
}

function widest(texts: readonly string[]): number {
  return Math.max(0, ...texts.map((text) => text.length))
}

const VALUE_LENGTH_MAX = 120

/** What an event says beside its name: `name=value`, lists and objects as JSON. */
function describe(data: Readonly<Record<string, unknown>>): string {
  return Object.entries(data)
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([name, value]) => `${name}=${short(value)}`)
    .join(' ')
}

function short(value: unknown): string {
  const isPlain = typeof value === 'string' && /^[^\s"=]+$/.test(value)
  const text = printable(isPlain ? value : JSON.stringify(value))
  return text.length > VALUE_LENGTH_MAX ? `${text.slice(0, VALUE_LENGTH_MAX)}…` : text
}
