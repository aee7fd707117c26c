import { ConfigError } from '../errors.ts'
import { createClient, environmentOption } from './client.ts'
import { FINE, type Command, type OptionValues } from './command.ts'
import { printable, type Output } from './output.ts'
import { showRecipient } from './recipient.ts'
import { showTimeline } from './timeline.ts'
import type { WireEvent, WireRun } from './wire.ts'

type RunDetail = WireRun & { readonly events: readonly WireEvent[] }

/** Tells the story of one run, or has it go on or run again. */
export const run: Command = {
  name: 'run',
  summary: 'Show one run, step by step; end its wait, or run it again',
  usage: ['<run id>', '<run id> --wake', '<run id> --replay [--send]'],
  words: { min: 1, max: 1 },
  options: {
    wake: { type: 'boolean', help: 'end its wait now' },
    replay: {
      type: 'boolean',
      help: 'run it again with the same data and the version of now, and send nothing',
    },
    send: { type: 'boolean', help: 'with --replay: send what it says' },
    environment: environmentOption,
  },
  async run({ words, options, output, settings, host }) {
    const client = createClient(settings, options)
    const path = `/v1/workflow_recipient_runs/${encodeURIComponent(words[0] ?? '')}`
    const action = actionOf(options)
    if (action === 'wake') {
      await client.call('POST', `${path}/wake`)
      output.result({ woken: true }, () => ['woken'])
      return FINE
    }
    if (action === 'replay') {
      const body = { sandbox: !options.flag('send') }
      const reply = await client.call<Replayed>('POST', `${path}/replay`, { body })
      output.result(reply, () => [`workflow run ${reply.workflow_run_id}`])
      output.note(`what came of it: ${host.program} runs --workflow-run ${reply.workflow_run_id}`)
      return FINE
    }
    const detail = await client.call<RunDetail>('GET', path)
    output.result(detail, () => [
      ...summary(detail, output),
      '',
      ...showTimeline(detail.events, output),
    ])
    return FINE
  },
}

interface Replayed {
  readonly workflow_run_id: string
}

function actionOf(options: OptionValues): 'show' | 'wake' | 'replay' {
  const wake = options.flag('wake')
  const replay = options.flag('replay')
  if (wake && replay) throw new ConfigError('either --wake or --replay, not both')
  if (options.flag('send') && !replay) throw new ConfigError('--send goes with --replay')
  if (wake) return 'wake'
  return replay ? 'replay' : 'show'
}

function summary(detail: RunDetail, output: Output): string[] {
  const { outcome, reason, status, wakes_at: wakesAt } = detail
  const ended = outcome && outcome !== status ? `${status} (${outcome})` : status
  const why = reason ? `${ended}: ${reason}` : ended
  return [
    `${output.style('bold', detail.workflow)} for ${printable(showRecipient(detail.recipient))}`,
    `  status     ${wakesAt ? `${why}, wakes ${wakesAt}` : why}`,
    `  run        ${detail.id}`,
    `  trigger    ${detail.workflow_run_id}`,
    `  revision   ${detail.revision}`,
  ]
}
