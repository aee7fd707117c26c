import { parseArgs } from 'node:util'
import { ConfigError } from '../errors.ts'
import { didYouMean } from '../language/text.ts'
import type { Command, Option, OptionValues } from './command.ts'

/** What a command line asks for. */
export type Invocation =
  | { readonly kind: 'help'; readonly command?: Command }
  | { readonly kind: 'version' }
  | {
      readonly kind: 'command'
      readonly command: Command
      readonly words: readonly string[]
      readonly options: OptionValues
      readonly isJson: boolean
    }

/** Options that each command has. */
export const commonOptions: Readonly<Record<string, Option>> = {
  output: { type: 'string', value: 'json', help: 'print one JSON document instead of text' },
  help: { type: 'boolean', short: 'h', help: 'show this help' },
}

/** Reads a command line. Throws a `ConfigError` that says what is meant where something is misspelt. */
export function parseCommandLine(
  commands: readonly Command[],
  argv: readonly string[],
): Invocation {
  const [name, ...rest] = argv
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
    const asked = commands.find((command) => command.name === rest[0])
    return asked ? { kind: 'help', command: asked } : { kind: 'help' }
  }
  if (name === '--version' || name === '-v') return { kind: 'version' }
  const command = commands.find((candidate) => candidate.name === name)
  if (!command) {
    const names = commands.map((candidate) => candidate.name)
    throw new ConfigError(
      `there is no command "${name}"${meant(name, names) || '; see belfry --help'}`,
    )
  }
  return parseCommand(command, rest)
}

function parseCommand(command: Command, argv: readonly string[]): Invocation {
  const options = { ...command.options, ...commonOptions }
  const { values, positionals: words } = parseWords(command, options, argv)
  if (values['help']) return { kind: 'help', command }
  const output = values['output']
  const outputs = ['json', 'text', ...(command.outputs ?? [])]
  if (output !== undefined && !outputs.includes(String(output)))
    throw new ConfigError(`--output is ${outputs.join(' or ')}, not "${String(output)}"`)
  const { min, max } = command.words
  if (words.length < min || words.length > max)
    throw new ConfigError(`usage: ${usageOf(command).join('\n       ')}`)
  return {
    kind: 'command',
    command,
    words,
    isJson: output === 'json',
    options: {
      text: (name) => (typeof values[name] === 'string' ? values[name] : undefined),
      flag: (name) => values[name] === true,
      list: (name) => {
        const value = values[name]
        return Array.isArray(value) ? value.map(String) : []
      },
    },
  }
}

function parseWords(
  command: Command,
  options: Readonly<Record<string, Option>>,
  argv: readonly string[],
) {
  const known = Object.fromEntries(
    Object.entries(options).map(([name, { type, short, multiple }]) => [
      name,
      { type, ...(short && { short }), ...(multiple && { multiple }) },
    ]),
  )
  try {
    return parseArgs({ args: [...argv], options: known, allowPositionals: true, strict: true })
  } catch (error) {
    throw new ConfigError(whatIsWrong(error, command, Object.keys(options)))
  }
}

function whatIsWrong(error: unknown, command: Command, names: readonly string[]): string {
  const message = error instanceof Error ? error.message : String(error)
  const unknown = /Unknown option '(-{1,2}[^' ]*)'/.exec(message)?.[1]
  if (unknown === undefined) return `${message.split('\n', 1)[0]} (belfry ${command.name} --help)`
  const options = names.map((name) => `--${name}`)
  const hint = meant(unknown, options) || `; see belfry ${command.name} --help`
  return `belfry ${command.name} has no option "${unknown}"${hint}`
}

/** The forms of a command, ready to copy. */
export function usageOf(command: Command): readonly string[] {
  return command.usage.map((form) => `belfry ${command.name} ${form}`.trimEnd())
}

function meant(word: string, candidates: readonly string[]): string {
  const { hint } = didYouMean(word, candidates)
  return hint === undefined ? '' : `; ${hint}`
}
