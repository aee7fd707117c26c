import { systemClock } from '../clock.ts'
import { FINE, FOUND, type Command, type CommandContext, type ExitCode } from './command.ts'
import { printable, type Output } from './output.ts'
import type { PreviewedMessage } from '../workflow/preview.ts'
import type { FilePreview, PreviewChoice } from './preview-files.ts'

/** Shows the messages of a workflow as a sample makes them. */
export const preview: Command = {
  name: 'preview',
  summary: 'Show the messages of a workflow, rendered with its samples',
  usage: ['workflows/<key> [--sample <name>] [--step <ref>] [--data <file>] [--open]'],
  words: { min: 1, max: 1 },
  options: {
    sample: { type: 'string', value: 'name', help: 'of samples/<name>.yaml; default: the first' },
    step: { type: 'string', value: 'ref', help: 'only the message of this step' },
    data: { type: 'string', value: 'file', help: 'the data of the trigger, as YAML or JSON' },
    env: {
      type: 'string',
      short: 'e',
      value: 'name',
      help: 'whose variables and channels; default: development',
    },
    open: { type: 'boolean', help: 'show them in the browser, anew on every save, until Ctrl-C' },
    port: { type: 'string', value: 'number', help: 'of the page; default: any that is free' },
  },
  async run(context) {
    const { words, options, output } = context
    const { findWorkflow, previewFiles, hasErrors } = await import('./preview-files.ts')
    const { shownOf } = await import('./preview-page.ts')
    const choice: PreviewChoice = {
      ...findWorkflow(words[0] ?? ''),
      sample: options.text('sample'),
      step: options.text('step'),
      environment: options.text('env'),
      dataFile: options.text('data'),
    }
    if (options.flag('open')) return openPage(choice, context)
    const found = await previewFiles(choice, systemClock.now())
    output.result(found, () => linesOf(found, output, shownOf))
    return hasErrors(found) ? FOUND : FINE
  },
}

async function openPage(
  choice: PreviewChoice,
  { options, output }: CommandContext,
): Promise<ExitCode> {
  const { servePreview, openInBrowser, untilStopped } = await import('./preview-server.ts')
  const page = await servePreview(choice, { port: Number(options.text('port') ?? 0) })
  output.line(`${page.url} shows "${choice.key}" as it is on disk; Ctrl-C ends it`)
  openInBrowser(page.url)
  await untilStopped()
  await page.close()
  return FINE
}

type Shown = (content: PreviewedMessage['content']) => object

function linesOf(found: FilePreview, output: Output, shownOf: Shown): readonly string[] {
  const { workflow, sample, samples, messages } = found
  const others = samples.filter((name) => name !== sample)
  const lines = [
    `${output.style('bold', workflow)} with ${sample === null ? 'a made-up sample' : `the sample "${sample}"`}`,
  ]
  if (others.length > 0) lines.push(`other samples: ${others.join(', ')}`)
  for (const one of found.diagnostics) {
    lines.push(`${one.path}:${one.line}:${one.column} ${one.severity} ${printable(one.message)}`)
  }
  for (const { step, channel, content, diagnostics } of messages) {
    const by = channel.key === null ? channel.type : `${channel.type} by ${channel.key}`
    lines.push('', `${output.style('bold', step)}  ${by}`)
    for (const { severity, message } of diagnostics) {
      const colour = severity === 'error' ? 'red' : 'yellow'
      lines.push(`  ${output.style(colour, severity)} ${printable(message)}`)
    }
    lines.push(...fieldsOf(shownOf(content)).map((line) => `  ${line}`))
  }
  return lines
}

/** What a message says, a field on each line; HTML is for the browser and for JSON. */
function fieldsOf(content: object): readonly string[] {
  return Object.entries(content).flatMap(([name, value]) => {
    if (name === 'type' || name === 'html' || name === 'secrets' || isEmpty(value)) return []
    const text = typeof value === 'string' ? value : JSON.stringify(value)
    const [first = '', ...rest] = text.trimEnd().split('\n')
    if (rest.length === 0) return [`${name}: ${printable(first)}`]
    return [`${name}:`, ...[first, ...rest].map((line) => `  ${printable(line)}`)]
  })
}

function isEmpty(value: unknown): boolean {
  if (value === null || value === '') return true
  return typeof value === 'object' && Object.keys(value).length === 0
}
