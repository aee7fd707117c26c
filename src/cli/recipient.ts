import fs from 'node:fs'
import { ConfigError, messageOf } from '../errors.ts'

/**
 * A recipient as it is written on a command line: `ada` is a user, `teams/core` an object, and a JSON object is an
 * inline one with its properties.
 */
export function readRecipient(text: string): unknown {
  if (text.startsWith('{')) return readJson('--recipient', text)
  const slash = text.indexOf('/')
  if (slash < 0) return text
  return { collection: text.slice(0, slash), id: text.slice(slash + 1) }
}

/** A recipient of a reply, as `readRecipient` takes it. */
export function showRecipient(reference: unknown): string {
  if (typeof reference !== 'object' || reference === null) return String(reference)
  const { collection, id } = reference as { collection?: unknown; id?: unknown }
  return `${String(collection)}/${String(id)}`
}

/** JSON of an option: the text itself, or the file that `@path` names. */
export function readJson(option: string, text: string): unknown {
  const json = text.startsWith('@') ? readText(option, text.slice(1)) : text
  try {
    return JSON.parse(json)
  } catch (error) {
    throw new ConfigError(`${option} is not JSON: ${messageOf(error)}`)
  }
}

function readText(option: string, file: string): string {
  try {
    return fs.readFileSync(file, 'utf8')
  } catch (error) {
    throw new ConfigError(`the file of ${option} cannot be read: ${messageOf(error)}`)
  }
}
