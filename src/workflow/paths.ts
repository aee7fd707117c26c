import type { WorkflowKey } from '../ids.ts'

/** Where workflows, and the parts they share, stand in a repository. */
export const WORKFLOWS = 'workflows'
export const PARTIALS = `${WORKFLOWS}/_partials`
export const LAYOUTS = `${WORKFLOWS}/_layouts`
export const LOCALES = `${WORKFLOWS}/_locales`

/** The directory of a workflow. */
export function workflowDirectory(key: WorkflowKey | string): string {
  return `${WORKFLOWS}/${key}`
}

/** The file of a partial that templates name `{{> name}}`. */
export function partialPath(name: string): string {
  return `${PARTIALS}/${name}.hbs`
}

/** The file of a layout. */
export function layoutPath(name: string): string {
  return `${LAYOUTS}/${name}.html.hbs`
}

/**
 * The path from the repository's root of what a workflow file calls `{ file }`: relative to the
 * workflow's directory, or to the shared parts where it starts with `_partials/` or `_layouts/`.
 * Undefined for a path that leads anywhere else.
 */
export function resolveFile(key: WorkflowKey | string, file: string): string | undefined {
  if (file.startsWith('/') || file.includes('\\')) return undefined
  const isPart = file.startsWith('_partials/') || file.startsWith('_layouts/')
  const from = isPart ? WORKFLOWS : workflowDirectory(key)
  const segments: string[] = []
  for (const segment of `${from}/${file}`.split('/')) {
    if (segment === '' || segment === '.') continue
    if (segment !== '..') segments.push(segment)
    else if (segments.pop() === undefined) return undefined
  }
  const path = segments.join('/')
  const roots = [workflowDirectory(key), PARTIALS, LAYOUTS]
  return roots.some((root) => path.startsWith(`${root}/`)) ? path : undefined
}

/** Whether a path lies among the parts that workflows share. */
export function isShared(path: string): boolean {
  return [PARTIALS, LAYOUTS, LOCALES].some((root) => path.startsWith(`${root}/`))
}
