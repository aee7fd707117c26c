import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ClientSettings } from '../../src/cli/command.ts'
import type { Env } from '../../src/config.ts'
import { run, type Ran } from './program-support.ts'

export interface Found {
  readonly state: string
  readonly about: string
  readonly message: string
  readonly fix?: string
}

export interface Examined extends Ran {
  readonly findings: readonly Found[]
  readonly problems: number
  readonly warnings: number
  /** `state message` of each finding about something. */
  about(what: string): readonly string[]
}

/** A data directory that is removed with its user. */
export interface Place extends AsyncDisposable {
  readonly directory: string
}

export async function openPlace(): Promise<Place> {
  const directory = await mkdtemp(join(tmpdir(), 'belfry-doctor-test-'))
  const remove = () => rm(directory, { recursive: true, force: true })
  return { directory, [Symbol.asyncDispose]: remove }
}

/** Runs `belfry doctor` where nobody serves, unless the settings name a server. */
export async function examine(
  { directory }: Place,
  env: Env,
  {
    words = [],
    settings = {},
  }: Readonly<{ words?: string[]; settings?: Partial<ClientSettings> }> = {},
): Promise<Examined> {
  const ran = await run(['doctor', '--output', 'json', ...words], {
    env: { BELFRY_DATA_DIR: directory, BELFRY_REPO: '/nowhere', ...env },
    settings: { url: undefined, apiKey: undefined, dataDir: directory, ...settings },
  })
  const { findings, problems, warnings } = JSON.parse(ran.out) as Examined
  return {
    ...ran,
    findings,
    problems,
    warnings,
    about: (what) =>
      findings
        .filter(({ about }) => about === what)
        .map(({ state, message }) => `${state} ${message}`),
  }
}
