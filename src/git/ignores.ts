import { readFileSync } from 'node:fs'
import type { Dirent } from 'node:fs'
import { join } from 'node:path'
import ignore from 'ignore'
import { ignoreMissing } from './location.ts'

/** Which paths Git ignores, by the rules of the directories entered so far. */
export interface Ignores {
  /** Takes in the `.gitignore` of a directory, before its children are asked about. */
  enter(directory: string, listed: readonly Dirent[]): void
  ignored(path: string, isDirectory: boolean): boolean
}

interface Rules {
  /** From the root, with a slash at its end; empty for the root. */
  readonly prefix: string
  readonly matcher: ReturnType<typeof ignore>
}

/**
 * Reads what is ignored everywhere: the root's `.gitignore` and `info/exclude`. Rules of the user
 * outside the repository do not count, so that two checkouts agree.
 */
export function readIgnores(root: string, commonDir: string): Ignores {
  const excluded = readRules(join(commonDir, 'info', 'exclude'), '')
  const own = readRules(join(root, '.gitignore'), '')
  const byDirectory = new Map<string, Rules>()
  return {
    enter(directory, listed) {
      byDirectory.delete(directory)
      if (!listed.some(({ name }) => name === '.gitignore')) return
      const rules = readRules(join(root, directory, '.gitignore'), `${directory}/`)
      if (rules) byDirectory.set(directory, rules)
    },
    ignored(path, isDirectory) {
      const named = isDirectory ? `${path}/` : path
      for (const rules of [...nearestFirst(path, byDirectory), own, excluded]) {
        const verdict = rules?.matcher.test(named.slice(rules.prefix.length))
        if (verdict?.ignored) return true
        if (verdict?.unignored) return false
      }
      return false
    },
  }
}

function nearestFirst(path: string, byDirectory: ReadonlyMap<string, Rules>): Rules[] {
  const found: Rules[] = []
  if (byDirectory.size === 0) return found
  for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) {
    const rules = byDirectory.get(path.slice(0, end))
    if (rules) found.push(rules)
  }
  return found
}

function readRules(file: string, prefix: string): Rules | undefined {
  try {
    return { prefix, matcher: ignore({ ignorecase: false }).add(readFileSync(file, 'utf8')) }
  } catch (error) {
    const failure = error as NodeJS.ErrnoException
    return failure.code === 'EISDIR' ? undefined : ignoreMissing(failure)
  }
}
