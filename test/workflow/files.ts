import { createHash } from 'node:crypto'
import type { Entry } from '../../src/workflow/draft.ts'

/** A file of a test: its text, its bytes, or what Git has in its place. */
export type Content = string | Uint8Array | { readonly mode: '120000' | '160000' }

/** Files as a commit has them, by path. */
export function entriesOf(files: Readonly<Record<string, Content>>): ReadonlyMap<string, Entry> {
  return new Map(Object.entries(files).map(([path, content]) => [path, entryOf(content)]))
}

function entryOf(content: Content): Entry {
  if (typeof content === 'object' && 'mode' in content) {
    return { blob: '0'.repeat(40), mode: content.mode, bytes: new Uint8Array() }
  }
  const bytes = Buffer.from(content as string)
  const blob = createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex')
  return { blob, mode: '100644', bytes }
}

/** Files that hold exactly one mistake, and the one diagnostic that it must give. */
export interface BrokenFiles {
  readonly name: string
  readonly files: Readonly<Record<string, Content>>
  /** `path:line:column code`. */
  readonly diagnostic: string
}

/** A workflow that is in order when `step` is: one step in lines 3 and following. */
export function step(...lines: readonly string[]): string {
  return [
    'name: Welcome',
    'steps:',
    '  - ref: first',
    ...lines.map((line) => `    ${line}`),
    '',
  ].join('\n')
}

/** A workflow with an in-app step whose body is `body`, as YAML, from line 5 column 11 on. */
export const inApp = (body: string): string => step('type: in_app', `body: ${body}`)

const WELCOME = 'workflows/welcome/workflow.yaml'

/** A workflow file with a fault at this place. */
export function brokenWorkflow(name: string, content: Content, place: string): BrokenFiles {
  return { name, files: { [WELCOME]: content }, diagnostic: `${WELCOME}:${place}` }
}

/** A workflow whose steps lie in `depth` branches. */
