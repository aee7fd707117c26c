import fs from 'node:fs'
import path from 'node:path'
import { isKey } from './ids.ts'
import { createMasker } from './mask.ts'
import type { SecretSettings } from './config.ts'

/** What must not be in Git and not in any output: values that environments refer to by name. */
export interface Secrets {
  /** The value of `{ secret: name }` in an environment, or undefined when it has none. */
  find(environment: string, name: string): string | undefined
  /** The text with each known secret replaced, plain or encoded. */
  mask(text: string): string
}

const FILE_BYTES_MAX = 65_536
const NAME = /^[A-Z][A-Z0-9_]*$/
const MASK = '***'

/**
 * Opens the secrets of this process. A secret belongs to one environment: `NAME` in `eu-prod` is
 * `BELFRY_SECRET_EU_PROD__NAME`, or else the file `eu-prod/NAME` of the secrets directory; only names
 * listed as shared are also read from `BELFRY_SECRET_NAME`. `hidden` are further values to mask.
 */
export function openSecrets(settings: SecretSettings, hidden: readonly string[] = []): Secrets {
  const masker = createMasker([...settings.values.values(), ...hidden], MASK)
  return {
    find(environment, name) {
      // Two underscores part environment and name; a name that has them could reach into another environment.
      if (!isKey(environment) || !NAME.test(name) || name.includes('__')) return undefined
      const prefix = environment.toUpperCase().replaceAll('-', '_')
      const own =
        settings.values.get(`${prefix}__${name}`) ?? fromFile(settings.directory, environment, name)
      const shared = settings.shared.includes(name) ? settings.values.get(name) : undefined
      const value = own ?? shared
      if (value !== undefined) masker.add(value)
      return value
    },
    mask: (text) => masker.mask(text),
  }
}

/** Read at each use, so that a rotated secret counts without a restart. */
function fromFile(
  directory: string | undefined,
  environment: string,
  name: string,
): string | undefined {
  if (directory === undefined) return undefined
  try {
    // Links inside are followed, as container platforms lay out their secrets; none leads outside.
    const root = fs.realpathSync(directory)
    const own = fs.realpathSync(path.join(root, environment))
    const file = fs.realpathSync(path.join(own, name))
    if (!isInside(own, root) || !isInside(file, own)) return undefined
    const stat = fs.statSync(file)
    if (!stat.isFile() || stat.size > FILE_BYTES_MAX) return undefined
    const value = fs.readFileSync(file, 'utf8').replace(/\r?\n$/, '')
    return value === '' ? undefined : value
  } catch {
    // Absent or unreadable: a missing secret, which is reported where it is referred to.
    return undefined
  }
}

function isInside(child: string, parent: string): boolean {
  return child.startsWith(parent + path.sep)
}
