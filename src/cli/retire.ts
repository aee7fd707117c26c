import { brakeOptions, useBrake } from './brake.ts'
import { FINE, type Command } from './command.ts'
import { printable } from './output.ts'

/** Ends an environment whose file is gone from the default branch. */
export const retire: Command = {
  name: 'retire',
  summary: 'Take an environment that is no longer declared out of service',
  usage: ['<environment> --reason <text>', '<environment> --undo'],
  words: { min: 1, max: 1 },
  options: brakeOptions('undo', 'what was live is live again'),
  async run(context) {
    const { environment } = await useBrake('retire', 'undo', context)
    context.output.result(environment, () => [printable(environment.message)])
    return FINE
  },
}
