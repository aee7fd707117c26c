import { FINE, FOUND, type Command } from './command.ts'
import { printable } from './output.ts'

/** Checks files as they stand on disk, without a server. */
export const validate: Command = {
  name: 'validate',
  summary: 'Check workflows and environments as they stand on disk',
  usage: ['[directory] [--strict]'],
  words: { min: 0, max: 1 },
  options: { strict: { type: 'boolean', help: 'count warnings as errors' } },
  async run({ words, options, output }) {
    const [{ validateDirectory }, { formatDiagnostic }, { providerList }] = await Promise.all([
      import('../workflow/validate.ts'),
      import('../workflow/format.ts'),
      import('../channels/index.ts'),
    ])
    const root = words[0] ?? '.'
    const strict = options.flag('strict')
    const { files, ...found } = await validateDirectory(root, {
      providers: providerList,
      strict,
    })
    const sourceOf = (path: string) => {
      const bytes = files.get(path)?.bytes
      return bytes && new TextDecoder().decode(bytes)
    }
    output.result(found, () => [
      ...found.diagnostics.flatMap((one) => [
        ...formatDiagnostic(one, sourceOf(one.path)).split('\n').map(printable),
        '',
      ]),
      summaryOf(found),
    ])
    return found.errors > 0 ? FOUND : FINE
  },
}

interface Counts {
  readonly workflows: number
  readonly environments: number
  readonly errors: number
  readonly warnings: number
}

function summaryOf({ workflows, environments, errors, warnings }: Counts): string {
  const files = `${count(workflows, 'workflow')}, ${count(environments, 'environment')}`
  if (errors === 0 && warnings === 0) return `${files}: all fine`
  return `${files}: ${count(errors, 'error')}, ${count(warnings, 'warning')}`
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}
