import { printable, type Output } from './output.ts'
import { showRecipient } from './recipient.ts'
import { showTimeline } from './timeline.ts'
import type { WireEvent, WireMessage, WireRun } from './wire.ts'

/** What a trigger would do, as the API answers it. */
export interface WireDryRun {
  readonly workflow: string
  readonly revision: string
  readonly recipients_missing: readonly unknown[]
  readonly runs: readonly (WireRun & {
    readonly events: readonly WireEvent[]
    readonly messages: readonly (WireMessage & { readonly content: WireContent | null })[]
  })[]
}

interface WireContent {
  readonly data: Readonly<Record<string, unknown>>
}

/** What would happen to each recipient, and what they would get. */
export function showDryRun(
  { workflow, revision, recipients_missing: missing, runs }: WireDryRun,
  output: Output,
): string[] {
  const lines = [
    `${output.style('bold', workflow)} at revision ${revision}; nothing is stored or sent`,
  ]
  for (const run of runs) {
    const { outcome, status, reason } = run
    const end = [outcome ?? status, reason].filter((word) => word !== null).join(': ')
    lines.push('', `${output.style('bold', printable(showRecipient(run.recipient)))}  ${end}`)
    lines.push(...showTimeline(run.events, output))
    for (const message of run.messages) {
      const { source, channel, status: state, reason: why } = message
      const standing = state === 'queued' ? 'would be handed over' : [state, why].join(' ').trim()
      lines.push('', `  ${output.style('bold', source.step_ref)} by ${channel.key}: ${standing}`)
      lines.push(...fieldsOf(message.content?.data ?? {}).map((line) => `    ${line}`))
    }
  }
  for (const recipient of missing)
    lines.push('', `${printable(showRecipient(recipient))} is not known and gets no run`)
  return lines
}

/** What a content says: each field on a line, text of several lines below its name. */
function fieldsOf(data: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(data).flatMap(([name, value]) => {
    if (name === '__typename' || name === 'html_body' || value === null) return []
    if (Array.isArray(value))
      return value.flatMap((block) => fieldsOf(block as object as typeof data))
    const text = typeof value === 'string' ? value : JSON.stringify(value)
    const [first = '', ...rest] = text.trimEnd().split('\n')
    if (rest.length === 0) return [`${name}: ${printable(first)}`]
    return [`${name}:`, ...[first, ...rest].map((line) => `  ${printable(line)}`)]
  })
}
