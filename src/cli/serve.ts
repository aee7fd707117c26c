import { FINE, type Command, type CommandContext, type Running } from './command.ts'
import type { Output } from './output.ts'

/** A second signal that comes sooner is the same one: npm passes on what the terminal has sent already. */
const SAME_SIGNAL_MS = 300
/** A stop that takes longer is cut. */
const STOP_MS_MAX = 4_800

/** Runs Belfry: reconciles, runs, delivers and answers, as `BELFRY_ROLES` says. */
export const serve: Command = {
  name: 'serve',
  summary: 'Run Belfry until it is stopped',
  usage: ['[--dev] [--repo <path>] [--port <number>]'],
  words: { min: 0, max: 0 },
  options: {
    dev: {
      type: 'boolean',
      help: 'development follows the working tree; a key is made and printed',
    },
    repo: { type: 'string', value: 'path', help: 'the repository; default: BELFRY_REPO, else .' },
    'default-branch': {
      type: 'string',
      value: 'branch',
      help: 'the branch that declares environments',
    },
    'policy-file': {
      type: 'string',
      value: 'path',
      help: 'policies outside of the repository; default: BELFRY_POLICY_FILE',
    },
    host: {
      type: 'string',
      value: 'address',
      help: 'where to listen; default: BELFRY_HOST, else 127.0.0.1',
    },
    port: {
      type: 'string',
      value: 'number',
      help: 'default: PORT, else the first free one from 4747',
    },
    'data-dir': { type: 'string', value: 'path', help: 'default: BELFRY_DATA_DIR, else .belfry' },
  },
  async run(context) {
    const { host, options, output } = context
    const stopped = stopSignal()
    const app = await host.start(options)
    await Promise.race([app.firstLook, stopped])
    await greet(app, context)
    await stopped
    output.note('stopping')
    const cut = setTimeout(() => process.exit(1), STOP_MS_MAX)
    cut.unref()
    await app.close()
    clearTimeout(cut)
    return FINE
  },
}

/** Resolves with the first SIGINT or SIGTERM; the second one ends the process at once. */
function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    let isOver = false
    const onSignal = (): void => {
      if (isOver) process.exit(130)
      setTimeout(() => (isOver = true), SAME_SIGNAL_MS).unref()
      resolve()
    }
    process.on('SIGINT', onSignal)
    process.on('SIGTERM', onSignal)
  })
}

/** Says where Belfry is, who may call, and what to try. */
async function greet(app: Running, context: CommandContext): Promise<void> {
  const { host, options, output } = context
  const { url, key, publicKey, operatorToken } = app
  const workflow = key === undefined ? undefined : await trialWorkflow(app)
  const dataDir = options.text('data-dir')
  // A shell that copies the commands must find the same data directory.
  const program =
    dataDir === undefined ? host.program : `BELFRY_DATA_DIR=${quoted(dataDir)} ${host.program}`
  const commands = workflow === undefined ? [] : trialCommands(program, workflow)
  const shown = {
    url,
    key,
    public_key: publicKey,
    operator_token: key === undefined ? undefined : operatorToken,
  }
  output.result({ ...shown, commands }, () => [
    ...labelled('URL', url, output),
    ...labelled('key', shown.key, output),
    ...labelled('public key', shown.public_key, output),
    ...labelled('operator token', shown.operator_token, output),
    ...(commands.length === 0 ? [] : ['', ...commands.map((command) => `  ${command}`), '']),
  ])
  if (key !== undefined && workflow === undefined)
    output.note(`no workflow is live in development: see ${program} status`)
}

function labelled(name: string, value: string | undefined, output: Output): string[] {
  return value === undefined ? [] : [`${output.style('bold', name.padEnd(14))}  ${value}`]
}

/** The workflow that ships, or else any that is live. */
async function trialWorkflow(app: Running): Promise<string | undefined> {
  const keys = await app.listWorkflows('development')
  return keys.includes('welcome') ? 'welcome' : keys[0]
}

/** One command that makes something happen, and one that shows what came of it. */
function trialCommands(program: string, workflow: string): string[] {
  const recipient = '{"id":"ada","name":"Ada","email":"ada@example.com"}'
  return [
    `${program} trigger ${workflow} --recipient '${recipient}'`,
    `${program} messages --recipient ada`,
  ]
}

function quoted(text: string): string {
  return /^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`
}
