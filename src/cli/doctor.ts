import { systemClock } from '../clock.ts'
import { sensitiveValues, type Config } from '../config.ts'
import { findServer } from '../data-directory.ts'
import { ConfigError } from '../errors.ts'
import { openSecrets, type Secrets } from '../secrets.ts'
import { environmentOption } from './client.ts'
import {
  FINE,
  FOUND,
  type ClientSettings,
  type Command,
  type CommandContext,
  type Host,
  type OptionValues,
} from './command.ts'
import type { Place } from './doctor/environments.ts'
import { fine, wrong, type Finding } from './doctor/finding.ts'
import { printable, type Output } from './output.ts'

/** Looks for what keeps Belfry from working here, and says what to do. */
export const doctor: Command = {
  name: 'doctor',
  summary: 'Find what keeps Belfry from working, and what to do',
  usage: ['[--strict]'],
  words: { min: 0, max: 0 },
  options: {
    repo: { type: 'string', value: 'path', help: 'the repository; default: BELFRY_REPO, else .' },
    'default-branch': { type: 'string', value: 'branch', help: 'as of serve' },
    'data-dir': { type: 'string', value: 'path', help: 'default: BELFRY_DATA_DIR, else .belfry' },
    dev: { type: 'boolean', help: 'as serve in development mode' },
    strict: { type: 'boolean', help: 'exit with 1 for warnings, too' },
    environment: environmentOption,
  },
  async run(context) {
    const { options, output } = context
    const findings = await examine(context)
    const problems = findings.filter(({ state }) => state === 'problem').length
    const warnings = findings.filter(({ state }) => state === 'warning').length
    output.result({ findings, problems, warnings }, () => [
      ...findings.flatMap((one) => linesOf(one, output)),
      '',
      `${counted(problems, 'problem')}, ${counted(warnings, 'warning')}`,
    ])
    return problems > 0 || (options.flag('strict') && warnings > 0) ? FOUND : FINE
  },
}

async function examine({ host, options, settings }: CommandContext): Promise<readonly Finding[]> {
  const machine = await import('./doctor/machine.ts')
  const read = readSettings(host, asServed(options, settings))
  const config = 'config' in read ? read.config : undefined
  const secrets = openMask(config, settings)
  const server = await askServer(settings, options)
  const here =
    config === undefined
      ? []
      : isElsewhere(settings)
        ? [fine('server', 'it is on another machine: run this there for the rest')]
        : await checkHere({ config, secrets }, server.hasDatabase)
  const found = [
    machine.checkNode(process.versions.node),
    ...('problems' in read ? read.problems : []),
    ...here,
    ...server.findings,
  ]
  return found.map((one) => masked(one, secrets))
}

/** What runs here already says how it was started: a server in development mode has no branch to wait for. */
function asServed(options: OptionValues, { dataDir }: ClientSettings): OptionValues {
  const isDev = findServer(options.text('data-dir') ?? dataDir)?.dev === true
  return isDev ? { ...options, flag: (name) => name === 'dev' || options.flag(name) } : options
}

function readSettings(
  host: Host,
  options: OptionValues,
): { readonly config: Config } | { readonly problems: readonly Finding[] } {
  try {
    return { config: host.readSettings(options) }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    const lines = error.message.split('\n')
    return { problems: lines.map((text) => wrong('settings', text, 'Correct the setting.')) }
  }
}

async function askServer(settings: ClientSettings, options: OptionValues) {
  const { checkServer } = await import('./doctor/server.ts')
  const dataDir = options.text('data-dir') ?? settings.dataDir
  return checkServer({ ...settings, dataDir }, options, systemClock.now())
}

/** A server that was named may be anywhere; its settings and its repository are not those of this place. */
function isElsewhere({ url }: ClientSettings): boolean {
  if (url === undefined || !URL.canParse(url)) return false
  return !/^(127(\.\d+){3}|\[::1\]|localhost)$/.test(new URL(url).hostname)
}

async function checkHere(here: Place, isDatabaseKnown: boolean): Promise<readonly Finding[]> {
  const { config } = here
  const [machine, watcher, { checkGit }, { checkPublicUrl }, { checkDatabase }] = await Promise.all(
    [
      import('./doctor/machine.ts'),
      import('./doctor/watcher.ts'),
      import('./doctor/git.ts'),
      import('./doctor/public-url.ts'),
      import('./doctor/database.ts'),
    ],
  )
  const pollSeconds = config.pollSeconds ?? POLL_SECONDS
  const isWatched = config.remote === undefined
  return [
    ...machine.checkSettings(config),
    await machine.checkDisk(config.dataDirectory),
    ...machine.checkTargets(config),
    ...(isWatched ? [await watcher.checkWatchLimits()] : []),
    ...(isWatched ? [await watcher.checkWatch(config.dataDirectory, { pollSeconds })] : []),
    ...(await checkGit(here, systemClock.now())),
    ...(await checkPublicUrl(config)),
    ...(isDatabaseKnown ? [] : await checkDatabase(config, systemClock)),
  ]
}

/** What a local repository is looked at without being told. */
const POLL_SECONDS = 10

/** Masks what must not be shown: others may repeat what they were sent. */
function openMask(config: Config | undefined, { apiKey, operatorToken }: ClientSettings): Secrets {
  const keys = [apiKey, operatorToken].filter((one) => one !== undefined)
  const hidden = [...keys, ...(config ? sensitiveValues(config) : [])]
  const none = { values: new Map<string, string>(), directory: undefined, shared: [] }
  return openSecrets(config?.secrets ?? none, hidden)
}

function masked({ message, fix, ...rest }: Finding, secrets: Secrets): Finding {
  const text = secrets.mask(message)
  return { ...rest, message: text, ...(fix !== undefined && { fix: secrets.mask(fix) }) }
}

const COLORS = { ok: 'green', warning: 'yellow', problem: 'red' } as const
const STATE_LENGTH = 'problem'.length
const ABOUT_LENGTH = 'environments'.length

function linesOf({ state, about, message, fix }: Finding, output: Output): string[] {
  const mark = output.style(COLORS[state], state.padEnd(STATE_LENGTH))
  const line = `${mark}  ${about.padEnd(ABOUT_LENGTH)}  ${printable(message)}`
  const indent = ' '.repeat(STATE_LENGTH + ABOUT_LENGTH + 4)
  return fix === undefined ? [line] : [line, `${indent}${printable(fix)}`]
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`
}
