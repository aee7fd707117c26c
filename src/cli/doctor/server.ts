import { ConfigError } from '../../errors.ts'
import { createClient, Refusal, type Client } from '../client.ts'
import type { ClientSettings, OptionValues } from '../command.ts'
import type { WireEnvironment } from '../wire.ts'
import { judgeDatabase } from './database.ts'
import { fine, warning, wrong, type Finding } from './finding.ts'

interface WireInstallation {
  readonly database: {
    readonly version: string
    readonly major: number
    readonly migration: number
    readonly newest: number
    readonly refusal: string | null
    readonly ahead_ms: number
  }
  readonly processes: { readonly alive: number; readonly silent: number }
  readonly lead: { readonly held: boolean; readonly expires_at: string } | null
  readonly git_webhooks: {
    readonly secrets: number
    readonly providers: readonly WireHook[]
  }
}

interface WireHook {
  readonly provider: string
  readonly last_delivery_at: string | null
  readonly outcomes: Readonly<Record<string, number>>
}

/** What a server has said of itself. */
export interface ServerReport {
  readonly findings: readonly Finding[]
  /** Whether it told of its database, so that nobody else need look. */
  readonly hasDatabase: boolean
}

/** A repository to which nobody pushes for so long is rare enough to ask. */
const HOOK_MS_MAX = 7 * 86_400_000

/** Asks the running server how it, its database, its environments and its webhooks stand. */
export async function checkServer(
  settings: ClientSettings,
  options: OptionValues,
  now: Date,
): Promise<ServerReport> {
  const findings: Finding[] = []
  let hasDatabase = false
  try {
    const client = createClient(ofOperator(settings), options)
    const ready = await checkReady(client)
    findings.push(ready)
    if (ready.state === 'problem') return { findings, hasDatabase }
    findings.push(...(await checkStates(client)))
    findings.push(...(await checkInstallation(client, now)))
    hasDatabase = true
  } catch (error) {
    findings.push(failureOf(error))
  }
  return { findings, hasDatabase }
}

/** A key of an application may read one environment, and seldom how all of it stands. */
function ofOperator(settings: ClientSettings): ClientSettings {
  return settings.operatorToken === undefined ? settings : { ...settings, apiKey: undefined }
}

function failureOf(error: unknown): Finding {
  if (error instanceof ConfigError) {
    const message = `no running server was asked: ${error.message}`
    return warning('server', message, 'Start it with "belfry serve", or name it with BELFRY_URL.')
  }
  if (error instanceof Refusal) {
    const fix = 'Set BELFRY_OPERATOR_TOKEN, or a key with the scopes read and operate.'
    return warning('server', `it did not tell all: ${error.message}`, fix)
  }
  throw error
}

async function checkReady(client: Client): Promise<Finding> {
  try {
    await client.call('GET', '/readyz')
    return fine('server', `${client.url} answers, and is ready`)
  } catch (error) {
    if (!(error instanceof Refusal) || error.status !== 503) throw error
    const message = `${client.url} answers, and is not ready: its database does not answer, or Git was not looked at yet`
    return wrong('server', message, 'See DATABASE_URL, and the log of the server.')
  }
}

async function checkStates(client: Client): Promise<readonly Finding[]> {
  const { entries } = await client.call<{ entries: readonly WireEnvironment[] }>(
    'GET',
    '/v1/environments',
  )
  return entries.map((environment) => {
    const { name, state, reason, message } = environment
    const text = `${name} is ${state}: ${reason}`
    if (state === 'ready' || state === 'reconciling') return fine('environments', text)
    return (state === 'stalled' ? wrong : warning)('environments', text, message)
  })
}

async function checkInstallation(client: Client, now: Date): Promise<readonly Finding[]> {
  const found = await client.call<WireInstallation>('GET', '/v1/installation')
  const { ahead_ms: aheadMs, ...database } = found.database
  return [
    ...judgeDatabase({ ...database, aheadMs }),
    ...checkProcesses(found),
    ...checkWebhooks(found.git_webhooks, now),
  ]
}

function checkProcesses({ processes, lead }: WireInstallation): readonly Finding[] {
  const { alive, silent } = processes
  const fix = 'Start one whose BELFRY_ROLES has'
  const work =
    alive > 0
      ? fine(
          'processes',
          `${alive} alive${silent > 0 ? `; ${silent} ended, and are taken over` : ''}`,
        )
      : wrong('processes', 'none works: nothing is run and nothing is sent', `${fix} work.`)
  const leading = lead?.held
    ? fine('processes', 'one of them reads Git')
    : wrong('processes', 'none reads Git: nothing new is applied', `${fix} reconcile.`)
  return [work, leading]
}

function checkWebhooks(
  { secrets, providers }: WireInstallation['git_webhooks'],
  now: Date,
): readonly Finding[] {
  if (secrets === 0)
    return [fine('webhooks', 'none is taken; changes are found by watching and by the safety poll')]
  if (providers.length > 0) return providers.map((one) => checkHook(one, now))
  const fix = 'Point the webhook of the Git host at /hooks/git/<provider>.'
  return [warning('webhooks', 'there is a secret for them, and none has come yet', fix)]
}

function checkHook({ provider, last_delivery_at: at, outcomes }: WireHook, now: Date): Finding {
  if (at === null) {
    const reasons = Object.entries(outcomes).map(([reason, count]) => `${reason} ${count}`)
    const message = `of ${provider} none was taken, and some refused: ${reasons.join(', ')}`
    return warning('webhooks', message, 'Give the webhook a secret of BELFRY_WEBHOOK_SECRETS.')
  }
  const message = `${provider} delivered last at ${at}`
  if (now.getTime() - Date.parse(at) < HOOK_MS_MAX) return fine('webhooks', message)
  return warning(
    'webhooks',
    message,
    'If it was pushed to since, see what the Git host says of its webhook.',
  )
}
