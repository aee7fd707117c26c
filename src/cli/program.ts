import { isExpected, messageOf, unreachable } from '../errors.ts'
import { Refusal } from './client.ts'
import {
  COULD_NOT_RUN,
  FINE,
  FOUND,
  type ClientSettings,
  type ExitCode,
  type Host,
} from './command.ts'
import { commandPage, helpPage } from './help.ts'
import { commands } from './index.ts'
import { createOutput, type Output, type Streams } from './output.ts'
import { parseCommandLine, type Invocation } from './parse.ts'

/** What surrounds one run of the program. */
export interface Surroundings {
  readonly version: string
  readonly settings: () => ClientSettings
  readonly host: Host
  readonly streams: Streams
  readonly hasColor: boolean
}

/** Does what a command line says. Answers the exit code; writes to nothing but the streams. */
export async function runProgram(
  argv: readonly string[],
  surroundings: Surroundings,
): Promise<ExitCode> {
  const { streams, hasColor } = surroundings
  const isJson = asksForJson(argv)
  const output = createOutput({ isJson, hasColor: hasColor && !isJson, streams })
  try {
    return await runInvocation(parseCommandLine(commands, argv), surroundings, output)
  } catch (error) {
    if (error instanceof Refusal) {
      output.problem({ code: error.code, message: error.message })
      // A key that does not open the door is trouble with the set-up, not an answer to the question.
      return error.status === 401 || error.status === 403 ? COULD_NOT_RUN : FOUND
    }
    const isOurs = !isExpected(error)
    output.problem({ code: isOurs ? 'internal_error' : 'could_not_run', message: messageOf(error) })
    if (isOurs && error instanceof Error && error.stack) output.note(error.stack)
    return COULD_NOT_RUN
  }
}

/** Known before the command line is parsed, so that what is wrong with it is said in JSON too. */
function asksForJson(argv: readonly string[]): boolean {
  return argv.some(
    (word, index) =>
      word === '--output=json' || (word === '--output' && argv[index + 1] === 'json'),
  )
}

async function runInvocation(
  invocation: Invocation,
  { version, settings, host }: Surroundings,
  output: Output,
): Promise<ExitCode> {
  switch (invocation.kind) {
    case 'help':
      output.raw(invocation.command ? commandPage(invocation.command) : helpPage(commands))
      return FINE
    case 'version':
      output.raw(version)
      return FINE
    case 'command': {
      const { command, words, options } = invocation
      return command.run({ words, options, output, settings: settings(), host })
    }
    default:
      return unreachable(invocation)
  }
}
