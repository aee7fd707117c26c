import { memoized } from '../memo.ts'
import { assert, TerminalFailure } from '../errors.ts'
import { directionOf } from '../language/direction.ts'
import { isTimeZone } from '../language/durations.ts'
import { renderMail, renderText, renderTree, type MailPart } from '../language/templates.ts'
import type { Scope, StepContext, TemplateText } from '../steps/step.ts'
import type { EnvironmentSettings } from './environment.ts'
import { readLocales } from './locales.ts'
import { isMjml, layoutPath, PARTIALS, resolveFile } from './paths.ts'
import type { Version } from './workflow.ts'

/** What of a version is rendered; one object for each version, since what is made of it is kept with it. */
export type RenderedVersion = Pick<Version, 'key' | 'files'>

/** For whom and when the templates of a version are rendered. */
export interface RenderPlace {
  readonly now: Date
  readonly scope: Scope
  readonly settings: Pick<EnvironmentSettings, 'timezone' | 'locale'>
}

/** The part of a step's context that renders, and the zone it renders in. */
export type Renderer = Pick<
  StepContext,
  'timeZone' | 'render' | 'renderHtml' | 'renderLayout' | 'renderTree' | 'hasLayout'
>

/** Renders the templates of a version. Each function throws a `TerminalFailure` that says which template and where. */
export function rendererOf(
  version: RenderedVersion,
  { now, scope, settings }: RenderPlace,
): Renderer {
  const { files } = version
  const timeZone = timeZoneOf(scope, settings.timezone)
  const locale = scope.recipient['locale'] ?? settings.locale
  const view = {
    ...scope,
    timestamp: now.toISOString(),
    timezone: timeZone,
    locale,
    direction: directionOf(locale),
  }
  const rendering = {
    partials: partialsOf(version),
    translations: { files: localesOf(version), fallback: settings.locale },
    scope: view,
  }
  const layoutOf = (layout: string): MailPart => {
    const name = layoutPath(layout, (path) => files[path] !== undefined)
    const source = name === undefined ? undefined : files[name]
    if (name === undefined || source === undefined)
      throw new TerminalFailure(`the layout ${layout} is not in this version`)
    return { name, source, isMjml: isMjml(name) }
  }
  return {
    timeZone,
    render(template, kind) {
      const { name, source } = sourceOf(version, template)
      return renderText(source, { ...rendering, kind, name })
    },
    renderHtml(template, layout) {
      const { name, source } = sourceOf(version, template)
      const body = { name, source, isMjml: typeof template === 'object' && isMjml(name) }
      const outer = layout === undefined ? undefined : layoutOf(layout)
      return renderMail({ body, layout: outer }, rendering)
    },
    renderLayout: (layout, content) =>
      renderMail({ body: content, layout: layoutOf(layout) }, rendering),
    renderTree: (tree) => renderTree(tree, { ...rendering, name: version.key }),
    hasLayout: (layout) => layoutPath(layout, (path) => files[path] !== undefined) !== undefined,
  }
}

/** What a recipient has for a zone that is none, cut to what a zone could be; undefined where there is nothing wrong. */
export function unknownZoneOf({ recipient }: Scope): string | undefined {
  const { timezone } = recipient
  if (timezone === undefined || timezone === null) return undefined
  if (typeof timezone === 'string' && isTimeZone(timezone)) return undefined
  return (typeof timezone === 'string' ? timezone : JSON.stringify(timezone)).slice(0, 100)
}

function timeZoneOf(scope: Scope, fallback: string): string {
  const { timezone } = scope.recipient
  return typeof timezone === 'string' && isTimeZone(timezone) ? timezone : fallback
}

function sourceOf(
  version: RenderedVersion,
  template: TemplateText,
): { readonly name: string; readonly source: string } {
  if (typeof template === 'string') return { name: version.key, source: template }
  const name = resolveFile(version.key, template.file)
  const source = name === undefined ? undefined : version.files[name]
  assert(name !== undefined && source !== undefined, `${template.file} is not in the version`)
  return { name, source }
}

/** The texts of the version's locales, read when its first template is rendered. */
const localesOf = memoized(({ files }: RenderedVersion) => readLocales(files))

/** The version's partials by the name that templates call them. */
export const partialsOf = memoized(({ files }: RenderedVersion) => {
  const prefix = `${PARTIALS}/`
  return Object.fromEntries(
    Object.entries(files)
      .filter(([path]) => path.startsWith(prefix) && path.endsWith('.hbs'))
      .map(([path, source]) => [path.slice(prefix.length, -'.hbs'.length), source]),
  )
})
