import { ConfigError } from '../errors.ts'
import { channelId, type ChannelKey } from '../ids.ts'
import { createClient, environmentOption } from './client.ts'
import { FINE, type CommandContext, type ExitCode, type Option } from './command.ts'
import type { WireEnvironment, WireWorkflow } from './wire.ts'

/** What the kill switch takes, on or off. */
export const switchOptions: Readonly<Record<string, Option>> = {
  all: { type: 'boolean', help: 'all sending of the environment, instead of one workflow' },
  channel: {
    type: 'string',
    value: 'key',
    help: 'only this channel of the workflow, by key or id',
  },
  reason: { type: 'string', value: 'text', help: 'why; kept in the audit' },
  until: { type: 'string', value: 'time', help: 'when being off ends by itself, ISO 8601' },
  environment: environmentOption,
}

export const switchUsage = [
  '<workflow> [--channel <key>] [--reason <text>]',
  '--all -e <environment> --reason <text>',
]

/** Throws or releases the switch of a workflow, of one of its channels, or of a whole environment. */
export async function turn(context: CommandContext, status: boolean): Promise<ExitCode> {
  const { words, options, output, settings } = context
  const client = createClient(settings, options)
  const [workflow] = words
  const reason = options.text('reason')
  const expiresAt = options.text('until')
  const body = { status, reason, expires_at: expiresAt }
  if (options.flag('all') === (workflow !== undefined))
    throw new ConfigError('name one workflow, or say --all for all sending of an environment')
  if (workflow === undefined) {
    if (options.text('channel') !== undefined)
      throw new ConfigError('--all is for every channel: name a workflow together with --channel')
    if (!status && !reason?.trim())
      throw new ConfigError('--all needs --reason: say why nothing is to be sent')
    if (client.environment === undefined) throw new ConfigError('--all needs --environment')
    const path = `/v1/environments/${encodeURIComponent(client.environment)}/sending`
    const reply = await client.call<WireEnvironment>('PUT', path, { body })
    const { active, expires_at: end } = reply.sending
    const state = active ? 'on' : `off${until(end)}`
    output.result(reply, () => [`sending is ${state} in ${reply.name}`])
    return FINE
  }
  const channel = options.text('channel')
  const path = `/v1/workflows/${encodeURIComponent(workflow)}/activate`
  const reply = await client.call<WireWorkflow>('PUT', path, { body: { ...body, channel } })
  output.result(reply, () => [stateLine(reply, channel)])
  return FINE
}

/** What the reply says of the workflow, or of its channel: one that is off as a whole is off on each channel. */
function stateLine({ key, switches }: WireWorkflow, channel: string | undefined): string {
  const what = channel === undefined ? key : `${key} on ${channel}`
  const own = switches.find((one) => channel !== undefined && isNamed(one.channel, channel))
  const off = switches.find((one) => one.channel === null) ?? own
  if (!off) return `${what} is active`
  const whole = channel !== undefined && off.channel === null ? ', as the whole workflow is' : ''
  return `${what} is inactive${until(off.expires_at)}${whole}`
}

function isNamed(key: string | null, name: string): boolean {
  return key !== null && (key === name || channelId(key as ChannelKey) === name.toLowerCase())
}

function until(time: string | null): string {
  return time === null ? '' : ` until ${time}`
}
