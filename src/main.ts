import { enableCompileCache } from 'node:module'
import path from 'node:path'
import { runProgram } from './cli/program.ts'
import type { Host, OptionValues } from './cli/command.ts'
import { readConfig, type Config } from './config.ts'

// Commands are short-lived: what one has compiled, the next one need not.
enableCompileCache()
// A reader that has seen enough, such as `head`, is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit(0)
})

const { env } = process
const root = path.resolve(import.meta.dirname, '..')

const host: Host = {
  program: process.cwd() === root ? 'npm run -s belfry --' : 'belfry',
  async start(options) {
    return (await import('./app.ts')).startApp(serveConfig(options), {
      write: (line) => process.stderr.write(line),
      human: process.stderr.isTTY,
    })
  },
  async openKeys() {
    return (await import('./app/keys.ts')).openKeys(readConfig(env))
  },
  readSettings: serveConfig,
  forge: () => readConfig(env).forge,
}

process.exitCode = await runProgram(process.argv.slice(2), {
  version: '0.1.0',
  host,
  settings: () => ({
    url: env['BELFRY_URL'] || undefined,
    apiKey: env['BELFRY_API_KEY'] || undefined,
    operatorToken: env['BELFRY_OPERATOR_TOKEN'] || undefined,
    dataDir: path.resolve(env['BELFRY_DATA_DIR'] || '.belfry'),
  }),
  streams: { out: process.stdout, error: process.stderr },
  hasColor: process.stdout.isTTY && !env['NO_COLOR'],
})

/** What the command line says wins over the environment of the process. */
function serveConfig(options: OptionValues): Config {
  const repo = options.text('repo')
  const defaultBranch = options.text('default-branch')
  const policyFile = options.text('policy-file')
  const named = { PORT: 'port', BELFRY_HOST: 'host', BELFRY_DATA_DIR: 'data-dir' }
  const given = Object.entries(named).map(([name, option]) => [
    name,
    options.text(option) ?? env[name],
  ])
  const settings = { ...env, ...(Object.fromEntries(given) as Record<string, string | undefined>) }
  return readConfig(settings, {
    ...(repo !== undefined && { repo }),
    ...(defaultBranch !== undefined && { defaultBranch }),
    ...(policyFile !== undefined && { policyFile }),
    ...(options.flag('dev') && { dev: true }),
  })
}
