import type { WorkflowKey } from '../ids.ts'

/** Where workflows, and the parts they share, stand in a repository. */
export const WORKFLOWS = 'workflows'
export const PARTIALS = `${WORKFLOWS}/_partials`
export const LAYOUTS = `${WORKFLOWS}/_layouts`
export const LOCALES = `${WORKFLOWS}/_locales`

const MJML_END = '.mjml.hbs'

/** The directory of a workflow. */
export function workflowDirectory(key: WorkflowKey | string): string {
  return `${WORKFLOWS}/${key}`
}

/** The file of a partial that templates name `{{> name}}`. */
export function partialPath(name: string): string {
  return `${PARTIALS}/${name}.hbs`
}

const LAYOUT_ENDS = ['.html.hbs', MJML_END] as const

/** The file of a layout: of HTML, else of MJML. Undefined where there is neither. */
export function layoutPath(name: string, has: (path: string) => boolean): string | undefined {
  return LAYOUT_ENDS.map((end) => `${LAYOUTS}/${name}${end}`).find(has)
}

/** The name of the layout whose file this is; undefined for any other file. */
export function layoutName(path: string): string | undefined {
  const end = LAYOUT_ENDS.find((one) => path.endsWith(one))
  if (end === undefined || !path.startsWith(`${LAYOUTS}/`)) return undefined
  return path.slice(LAYOUTS.length + 1, -end.length)
}

/** Whether a template is written in MJML. */
export function isMjml(path: string): boolean {
  return path.endsWith(MJML_END)
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
