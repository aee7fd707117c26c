import type { Command, Option } from './command.ts'
import { commonOptions, usageOf } from './parse.ts'

const WIDTH_MIN = 12

/** What `belfry --help` prints. */
export function helpPage(commands: readonly Command[]): string {
  const width = Math.max(WIDTH_MIN, ...commands.map((command) => command.name.length))
  const lines = commands.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`)
  return [
    'Notification workflows that live in Git.',
    '',
    'usage: belfry <command> [options]',
    '',
    ...lines,
    '',
    'belfry <command> --help says more about one.',
    'Exit codes: 0 fine, 1 found something or was refused, 2 could not run.',
  ].join('\n')
}

/** What `belfry <command> --help` prints. */
export function commandPage(command: Command): string {
  const options = Object.entries({ ...command.options, ...commonOptions })
  const names = options.map(([name, option]) => nameOf(name, option))
  const width = Math.max(...names.map((name) => name.length))
  const lines = options.map(([, { help }], index) => `  ${names[index]?.padEnd(width)}  ${help}`)
  return [
    `${command.summary}.`,
    '',
    `usage: ${usageOf(command).join('\n       ')}`,
    '',
    ...lines,
  ].join('\n')
}

function nameOf(name: string, { short, value, type }: Option): string {
  const word = type === 'string' ? `--${name} <${value ?? name}>` : `--${name}`
  return short ? `-${short}, ${word}` : `    ${word}`
}
