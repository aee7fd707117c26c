import type { Command } from './command.ts'
import { switchOptions, switchUsage, turn } from './switch.ts'

/** Stops a workflow at once: triggers, runs at their next step, and messages not handed over. */
export const deactivate: Command = {
  name: 'deactivate',
  summary: 'Switch a workflow off, at once',
  usage: switchUsage,
  words: { min: 0, max: 1 },
  options: switchOptions,
  run: (context) => turn(context, false),
}
