import type { ChannelKey } from '../ids.ts'
import { didYouMean } from '../language/text.ts'
import { errorAt, sortDiagnostics, warningAt, type Diagnostic } from './diagnostic.ts'
import type { EnvironmentSettings } from './environment.ts'
import type { ChannelUse, EnvironmentUses, VariableUse } from './workflow.ts'

/**
 * What a version asks of an environment and does not find there: channels that are missing or not
 * clear, variables that are not set, sources that it has not, and secrets where a reader would see them. Sorted.
 */
export function checkAgainstEnvironment(
  version: EnvironmentUses,
  settings: EnvironmentSettings,
): readonly Diagnostic[] {
  return sortDiagnostics([
    ...version.channelUses.flatMap((use) => checkChannel(use, settings)),
    ...version.variableUses.flatMap((use) => checkVariable(use, settings)),
  ])
}

function checkChannel(use: ChannelUse, { channels }: EnvironmentSettings): readonly Diagnostic[] {
  const { type, channel } = use
  const ofType = Object.values(channels).filter((one) => one.type === type)
  const keys = ofType.map(({ key }) => key)
  if (channel !== null) return checkNamed(channel, use, { channels, keys })
  if (ofType.length === 0) {
    const message = `the environment has no channel of type "${type}": the step is skipped`
    const hint = "Add one to the environment's channels."
    return [warningAt(use.path, use, { code: 'channel_missing', message, hint })]
  }
  if (ofType.length === 1) return []
  return [
    errorAt(use.path, use, {
      code: 'ambiguous_channel',
      message: `the environment has ${ofType.length} channels of type "${type}"`,
      hint: `Name one with "channel": ${keys.join(', ')}.`,
    }),
  ]
}

function checkNamed(
  channel: ChannelKey,
  use: ChannelUse,
  { channels, keys }: Pick<EnvironmentSettings, 'channels'> & { readonly keys: readonly string[] },
): readonly Diagnostic[] {
  const found = Object.hasOwn(channels, channel) ? channels[channel] : undefined
  if (found?.type === use.type) return []
  const hint = didYouMean(channel, keys).hint ?? knownHint(keys)
  if (found === undefined) {
    const message = `the environment has no channel "${channel}"`
    return [errorAt(use.path, use, { code: 'unknown_channel', message, hint })]
  }
  const message = `the channel "${channel}" is of type "${found.type}", the step needs "${use.type}"`
  return [errorAt(use.path, use, { code: 'wrong_channel_type', message, hint })]
}

/** `vars` has it in commercial workflows, whatever the environment says. */
export const UNSUBSCRIBE_VARIABLE = 'commercial_unsubscribe_url'

function checkVariable(use: VariableUse, settings: EnvironmentSettings): readonly Diagnostic[] {
  if (use.source !== undefined) return checkSource(use, settings)
  const { variables } = settings
  if (use.name === UNSUBSCRIBE_VARIABLE) return []
  const variable = Object.hasOwn(variables, use.name) ? variables[use.name] : undefined
  if (variable === undefined) {
    const about = use.required ? errorAt : warningAt
    const then = use.required ? 'the step would fail' : 'it renders empty'
    return [
      about(use.path, use, {
        code: 'unknown_variable',
        message: `the environment has no variable "${use.name}": ${then}`,
        hint:
          didYouMean(use.name, Object.keys(variables)).hint ??
          "Add it to the environment's variables.",
      }),
    ]
  }
  if ('value' in variable || use.secrets) return []
  return [
    errorAt(use.path, use, {
      code: 'secret_in_template',
      message: `the variable "${use.name}" is a secret and cannot stand here`,
      hint: 'Secrets may stand in the url, headers, query and body of webhooks and fetches.',
    }),
  ]
}

/** The source may come later, or be there in another environment: a warning. */
function checkSource(
  { name, source, ...place }: VariableUse,
  { sources = {} }: EnvironmentSettings,
): readonly Diagnostic[] {
  if (Object.hasOwn(sources, name)) return []
  const then =
    source === 'starts' ? 'no event starts the workflow' : 'nothing but its time ends the wait'
  const message = `the environment has no source "${name}": ${then}`
  const hint = didYouMean(name, Object.keys(sources)).hint ?? "Add it to the environment's sources."
  return [warningAt(place.path, place, { code: 'unknown_source', message, hint })]
}

function knownHint(keys: readonly string[]): string | undefined {
  return keys.length === 0 ? undefined : `Of this type are: ${keys.join(', ')}.`
}
