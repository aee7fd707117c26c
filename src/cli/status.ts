import { ConfigError } from '../errors.ts'
import { createClient, environmentOption, type Client } from './client.ts'
import { FINE, FOUND, type Command, type CommandContext, type ExitCode } from './command.ts'
import { printable, table, type Output } from './output.ts'
import { openPast, type Past } from './past.ts'
import {
  isNotThereYet,
  judgeAll,
  judgeWait,
  readWait,
  waitFor,
  type Verdict,
  type Waited,
} from './wait.ts'
import type { WireEnvironment, WireList, WireRevision } from './wire.ts'

/** Says how each environment stands, and what keeps it from being what Git says. */
export const status: Command = {
  name: 'status',
  summary: 'Show how the environments stand',
  usage: [
    '[environment] [--wait] [--timeout <seconds>]',
    '<environment> --wait --revision <revision> [--timeout <seconds>]',
    '<environment> --history [--after <cursor>] [--limit <1-50>]',
  ],
  words: { min: 0, max: 1 },
  options: {
    wait: { type: 'boolean', help: 'until none is reconciling any more' },
    revision: { type: 'string', value: 'revision', help: 'wait until this one is live' },
    timeout: { type: 'string', value: 'seconds', help: 'how long to wait; default: 60' },
    history: { type: 'boolean', help: 'what was applied, newest first' },
    after: { type: 'string', value: 'cursor', help: 'the next page of the history' },
    limit: { type: 'string', value: '1-50', help: 'of the history; default: 50' },
    environment: environmentOption,
  },
  async run(context) {
    const { words, options, output, settings } = context
    const client = createClient(settings, options)
    const name = words[0] ?? options.text('environment')
    if (options.flag('history')) return showHistory(client, name ?? client.environment, context)
    const { revision, seconds } = readWait(options, name)
    const load = () => loadEnvironments(client, name)
    if (name !== undefined && revision !== undefined) {
      return waitForRevision(client, { name, revision, seconds }, output)
    }
    // Of all environments one may wait for its branch; one that was asked for shall be ready.
    const judge = (found: readonly WireEnvironment[]): Verdict =>
      name === undefined ? judgeAll(found) : judgeWait(found[0]!, undefined)
    if (!options.flag('wait')) {
      const environments = await load()
      const code = showEnvironments(environments, output)
      return name === undefined && judge(environments) !== FOUND ? FINE : code
    }
    return showWaited(await waitFor(load, judge, { seconds }), output)
  },
}

interface Awaited {
  readonly name: string
  readonly revision: string
  readonly seconds: number
}

/** Waits until a revision is live, or what came after it. */
async function waitForRevision(
  client: Client,
  { name, revision, seconds }: Awaited,
  output: Output,
): Promise<ExitCode> {
  const lookup = openPast(client, name, revision)
  let past: Past | undefined
  const load = async () => {
    const found = await loadEnvironments(client, name)
    past = await lookup.find(found[0]!)
    return found
  }
  const judge = ([found]: readonly WireEnvironment[]) => judgeWait(found!, revision, past)
  const waited = await waitFor(load, judge, { seconds, isPatient: isNotThereYet })
  const code = showWaited(waited, output)
  if (past && !waited.isTimeUp) {
    const what = past.wasApplied
      ? 'was applied, and followed by'
      : 'was never read by itself: it is part of'
    output.note(`${short(revision)} ${what} ${short(past.into)}, which came after it`)
  }
  return code
}

/** Shows what was waited for, and says where it did not come in time. */
export function showWaited(
  { answer, code, isTimeUp }: Waited<readonly WireEnvironment[]>,
  output: Output,
): ExitCode {
  showEnvironments(answer, output)
  if (isTimeUp) output.problem({ code: 'timeout', message: 'it did not come to an end in time' })
  return code
}

async function showHistory(
  client: Client,
  name: string | undefined,
  { options, output }: Pick<CommandContext, 'options' | 'output'>,
): Promise<ExitCode> {
  if (name === undefined) throw new ConfigError('say which environment: belfry status <name>')
  const path = `/v1/environments/${encodeURIComponent(name)}/revisions`
  const query = { after: options.text('after'), page_size: options.text('limit') }
  const list = await client.call<WireList<WireRevision>>('GET', path, { query })
  output.result(list, () =>
    list.items.length === 0
      ? ['nothing was applied']
      : table(HISTORY_HEAD, list.items.map(historyRow)),
  )
  const { after } = list.page_info
  if (after) output.note(`more: --after ${after}`)
  return FINE
}

const HISTORY_HEAD = ['REVISION', 'APPLIED', 'FROM', 'ADDED', 'CHANGED', 'ARCHIVED', 'NOTE']

function historyRow(one: WireRevision): string[] {
  const notes = [
    one.rewritten_from === null ? [] : [`rewritten from ${short(one.rewritten_from)}`],
    one.signer === null ? [] : [`signed by ${printable(one.signer)}`],
  ]
  const counts = [one.added, one.changed, one.archived].map((keys) => String(keys.length))
  const note = notes.flat().join(', ')
  return [short(one.revision), one.applied_at, one.origin ?? '-', ...counts, note]
}

/** One environment, or all that the key may see. */
export async function loadEnvironments(
  client: Client,
  name: string | undefined,
): Promise<readonly WireEnvironment[]> {
  if (name !== undefined)
    return [
      await client.call<WireEnvironment>('GET', `/v1/environments/${encodeURIComponent(name)}`),
    ]
  const list = await client.call<{ entries: WireEnvironment[] }>('GET', '/v1/environments')
  return list.entries
}

/** Prints environments with their diagnostics; one that needs a person is something found. */
export function showEnvironments(
  environments: readonly WireEnvironment[],
  output: Output,
): ExitCode {
  output.result(environments, () =>
    environments.length === 0
      ? ['no environments: add environments/<name>.yaml on the default branch']
      : [
          ...table(HEAD, environments.map(row)),
          ...environments.flatMap((one) => switchedOff(one, output)),
          ...environments.flatMap((one) => driftOf(one, output)),
          ...environments.flatMap((one) => problems(one, output)),
        ],
  )
  return environments.every(({ state }) => state === 'ready') ? FINE : FOUND
}

const HEAD = ['ENVIRONMENT', 'REF', 'STATE', 'REVISION', 'WORKFLOWS', 'SENDING', 'APPLIED']
const REVISION_LENGTH = 12

function row(environment: WireEnvironment): string[] {
  const { name, ref, state, reason, observed_revision: revision } = environment
  const shown = reason === 'applied' ? state : `${state}: ${reason}`
  const applied = environment.applied_at ?? 'never'
  const count = String(environment.workflows)
  const sends = environment.sending.active ? 'on' : 'OFF'
  return [name, ref, shown, short(revision), count, sends, applied]
}

function switchedOff({ name, sending }: WireEnvironment, output: Output): string[] {
  if (sending.active) return []
  const until = sending.expires_at === null ? '' : ` until ${sending.expires_at}`
  const why = sending.reason === null ? '' : `: ${printable(sending.reason)}`
  return ['', `${output.style('bold', name)}: all sending is switched off${until}${why}`]
}

/** Somebody writes where only Belfry should. */
function driftOf({ name, drift }: WireEnvironment, output: Output): string[] {
  if (drift === null) return []
  const { outcome, count, found_at: at } = drift
  const what = `${count} ${count === 1 ? 'row' : 'rows'} of what was applied`
  const mark = output.style('yellow', 'warning')
  return [
    '',
    `${output.style('bold', name)}: ${mark} something else changed ${what}, found at ${at}: ${outcome}; see GET /v1/environments/${name}/drift`,
  ]
}

/** `<commit>` or `<commit>+<tree>`, each cut to a readable length. */
function short(revision: string | null): string {
  return revision
    ? revision
        .split('+')
        .map((part) => part.slice(0, REVISION_LENGTH))
        .join('+')
    : '-'
}

function problems(environment: WireEnvironment, output: Output): string[] {
  const { name, reason, message, diagnostics } = environment
  const found = diagnostics.map(({ path, line, column, severity, code, message: what, hint }) => {
    const mark = output.style(severity === 'error' ? 'red' : 'yellow', severity)
    const help = hint ? `\n    ${printable(hint)}` : ''
    return `  ${path}:${line}:${column} ${mark} ${code}: ${printable(what)}${help}`
  })
  if (reason === 'applied' && found.length === 0) return []
  return ['', `${output.style('bold', name)}: ${printable(message)}`, ...found]
}
