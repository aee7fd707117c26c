import type { Clock } from '../../clock.ts'
import type { Config } from '../../config.ts'
import { openDatabase } from '../../db/database.ts'
import { findEmbedded } from '../../db/embedded.ts'
import { inspectDatabase, type DatabaseReport } from '../../db/inspect.ts'
import { assertReachable } from '../../db/reach.ts'
import { ConfigError, messageOf } from '../../errors.ts'
import { fine, warning, wrong, type Finding } from './finding.ts'

const MAJOR_MIN = 15
/** Leases last for six seconds, and leaders compare their own clocks. */
const AHEAD_MS_MAX = 2_000

/** Looks at the database of the settings without starting, making or migrating anything. */
export async function checkDatabase(config: Config, clock: Clock): Promise<readonly Finding[]> {
  const { databaseUrl, dataDirectory } = config
  if (databaseUrl !== undefined) {
    try {
      return await checkAt(databaseUrl, clock)
    } catch (error) {
      const fix = 'Start Postgres there, or correct DATABASE_URL.'
      return [wrong('database', messageOf(error), fix)]
    }
  }
  return await checkEmbedded(dataDirectory, clock)
}

async function checkEmbedded(dataDirectory: string, clock: Clock): Promise<readonly Finding[]> {
  try {
    const embedded = findEmbedded(dataDirectory)
    if (!embedded) {
      const message = `the first start makes a Postgres of its own in ${dataDirectory}`
      return [fine('database', message)]
    }
    const place = fine('database', `the embedded Postgres is in ${embedded.directory}`)
    const findings = await checkAt(embedded.url, clock).catch((error: unknown) => {
      if (!(error instanceof ConfigError)) throw error
      // It runs as long as a server does, so that not to run is what it does most of the time.
      return [fine('database', 'it does not run now, and starts with "belfry serve"')]
    })
    return [place, ...findings]
  } catch (error) {
    const fix = 'Run this as the user who runs Belfry.'
    return [wrong('database', `the embedded Postgres: ${messageOf(error)}`, fix)]
  }
}

async function checkAt(url: string, clock: Clock): Promise<readonly Finding[]> {
  await using database = openDatabase(url, { connectionsMax: 1 })
  await assertReachable(database)
  return judgeDatabase(await inspectDatabase(database, clock.now()))
}

/** What is right and wrong with a database. */
export function judgeDatabase(report: DatabaseReport): readonly Finding[] {
  const { version, major, aheadMs } = report
  return [
    major < MAJOR_MIN
      ? wrong('database', `Postgres ${version} is too old`, `Use Postgres ${MAJOR_MIN} or newer.`)
      : fine('database', `Postgres ${version} answers`),
    judgeSchema(report),
    ...(Math.abs(aheadMs) > AHEAD_MS_MAX ? [clockFinding(aheadMs)] : []),
  ]
}

function judgeSchema({ migration, newest, refusal }: DatabaseReport): Finding {
  if (refusal !== null)
    return wrong('database', refusal, 'Start the version of Belfry that it was migrated with.')
  if (migration === 0)
    return fine('database', 'it is empty; the first start of a server migrates it')
  if (migration < newest) {
    const message = `it is at migration ${migration}, and this program's last one is ${newest}`
    return warning('database', message, 'Start "belfry serve" of this version, which migrates it.')
  }
  const others = migration > newest ? ', which a newer version made and this one can work with' : ''
  return fine('database', `it is at migration ${migration}${others}`)
}

function clockFinding(aheadMs: number): Finding {
  const way = aheadMs > 0 ? 'ahead of' : 'behind'
  const message = `its clock is ${(Math.abs(aheadMs) / 1000).toFixed(1)} s ${way} this machine's`
  return warning('database', message, 'Keep the clocks of all machines right, such as with NTP.')
}
