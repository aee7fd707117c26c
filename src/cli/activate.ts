import type { Command } from './command.ts'
import { switchOptions, switchUsage, turn } from './switch.ts'

/** Lets a workflow run and send again. */
export const activate: Command = {
  name: 'activate',
  summary: 'Switch a workflow on',
  usage: switchUsage,
  words: { min: 0, max: 1 },
  options: switchOptions,
  run: (context) => turn(context, true),
}
