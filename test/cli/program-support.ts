import type { Host, KeyRing } from '../../src/cli/command.ts'
import { runProgram } from '../../src/cli/program.ts'
import type { ClientSettings } from '../../src/cli/command.ts'
import { readConfig, type Env } from '../../src/config.ts'

export interface Ran {
  readonly code: number
  readonly out: string
  readonly error: string
}

const noHost: Host = {
  program: 'belfry',
  start: () => Promise.reject(new Error('nothing is started in this test')),
  openKeys: () => Promise.reject(new Error('no database is opened in this test')),
  readSettings: () => readConfig({}),
  forge: () => undefined,
}

const noServer: ClientSettings = {
  url: 'http://127.0.0.1:9',
  apiKey: 'sk_none',
  operatorToken: undefined,
  dataDir: '/nowhere',
}

/** Runs one command line and collects what it writes. */
export async function run(
  argv: readonly string[],
  surroundings: {
    readonly settings?: Partial<ClientSettings>
    readonly keys?: KeyRing
    /** What a server would start with. */
    readonly env?: Env
  } = {},
): Promise<Ran> {
  let out = ''
  let error = ''
  const { keys, settings, env = {} } = surroundings
  const code = await runProgram(argv, {
    version: '1.2.3',
    host: {
      ...noHost,
      readSettings: (options) => readConfig(env, options.flag('dev') ? { dev: true } : {}),
      ...(keys && { openKeys: () => Promise.resolve(keys) }),
    },
    settings: () => ({ ...noServer, ...settings }),
    streams: {
      out: { write: (text) => (out += text) },
      error: { write: (text) => (error += text) },
    },
    hasColor: false,
  })
  return { code, out, error }
}
