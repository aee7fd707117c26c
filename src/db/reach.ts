import { Client } from 'pg'
import { ConfigError, messageOf } from '../errors.ts'
import { connectionSettings, type Database } from './database.ts'

/**
 * Throws a `ConfigError` where the Postgres of DATABASE_URL cannot be used: nothing answers there,
 * or it does not let us in. It says which host and port, and nothing of the password.
 */
export async function assertReachable(database: Database): Promise<void> {
  const place = placeOf(database.url)
  try {
    await database.execute('select 1')
  } catch (cause) {
    const text = `DATABASE_URL: Postgres cannot be used at ${place}: ${reasonOf(cause)}`
    throw new ConfigError(text, { cause })
  }
}

function placeOf(url: string): string {
  try {
    const { host, port } = new Client(connectionSettings(url))
    return `${host}:${port}`
  } catch {
    // What the parser says of it would repeat it, with the password.
    throw new ConfigError('DATABASE_URL: not an address like postgres://user@host:5432/database')
  }
}

/** Where a name has several addresses, each has failed for itself and the whole says nothing. */
function reasonOf(cause: unknown): string {
  if (cause instanceof AggregateError) return cause.errors.map(messageOf).join(', ')
  return messageOf(cause)
}
