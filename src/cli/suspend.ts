import { brakeOptions, useBrake } from './brake.ts'
import { FINE, type Command } from './command.ts'
import type { WireEnvironment } from './wire.ts'

/** Keeps what Git says from being applied, until it is resumed. */
export const suspend: Command = {
  name: 'suspend',
  summary: 'Apply nothing to an environment for now',
  usage: ['<environment> --reason <text>', '<environment> --resume'],
  words: { min: 1, max: 1 },
  options: brakeOptions('resume', 'follow the branch again'),
  async run(context) {
    const { environment, isUndone } = await useBrake('suspend', 'resume', context)
    context.output.result(environment, () => [
      isUndone
        ? resumed(environment)
        : `nothing is applied to ${environment.name} until it is resumed`,
    ])
    return FINE
  },
}

function resumed({ name, ref, pinned }: WireEnvironment): string {
  return pinned ? `${name} is resumed, and stays pinned` : `${name} follows ${ref} again`
}
