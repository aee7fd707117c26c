import { addressesOf } from '../channels/channel-data.ts'
import { assert, TerminalFailure } from '../errors.ts'
import { isTimeZone } from '../language/durations.ts'
import {
  renderMail,
  renderText,
  renderTree,
  type LocaleTexts,
  type MailPart,
  type OutputKind,
  type Translations,
} from '../language/templates.ts'
import type { Scope, StepContext, TemplateText } from '../steps/step.ts'
import { readLocales } from '../workflow/locales.ts'
import { isMjml, layoutPath, PARTIALS, resolveFile } from '../workflow/paths.ts'
import { channelDataKey } from '../recipients/channel-data-store.ts'
import type { Channel } from '../workflow/environment.ts'
import type { LoadedVersion } from './versions.ts'
import type { Walker } from './walker.ts'

/** What is known of a step beside its run. */
export interface StepPlace {
  /** Whether it is reached again after its wait. */
  readonly waited: boolean
  /** The channel it sends by. */
  readonly channel?: Channel
}

/** What a step of this run may look at and render with. */
export function stepContext(walker: Walker, scope: Scope, of: StepPlace): StepContext {
  const { chunk, shared, version } = walker
  const { files } = version
  const partials = partialsOf(version)
  const { timezone, locale: fallback } = chunk.live.settings
  const timeZone = timeZoneOf(scope, timezone)
  const translations = translationsOf(version, fallback)
  const view = {
    ...scope,
    timestamp: chunk.now.toISOString(),
    timezone: timeZone,
    locale: scope.recipient['locale'] ?? fallback,
  }
  const rendering = { partials, translations, scope: view }
  const render = (template: TemplateText, kind: OutputKind) => {
    const { name, source } = sourceOf(version, template)
    return renderText(source, { ...rendering, kind, name })
  }
  const layoutOf = (layout: string): MailPart => {
    const name = layoutPath(layout, (path) => files[path] !== undefined)
    const source = name === undefined ? undefined : files[name]
    if (name === undefined || source === undefined)
      throw new TerminalFailure(`the layout ${layout} is not in this version`)
    return { name, source, isMjml: isMjml(name) }
  }
  return {
    now: chunk.now,
    timeZone,
    scope,
    waited: of.waited,
    matched: walker.matched,
    addresses: addressesOf(of.channel && channelDataOf(walker, of.channel)),
    skipDelay: shared.settings.skip_delay === true,
    openingData: walker.batch?.openingData ?? scope.data,
    render,
    renderHtml(template, layout) {
      const { name, source } = sourceOf(version, template)
      const body = { name, source, isMjml: typeof template === 'object' && isMjml(name) }
      return renderMail(
        { body, layout: layout === undefined ? undefined : layoutOf(layout) },
        rendering,
      )
    },
    renderLayout: (layout, content) =>
      renderMail({ body: content, layout: layoutOf(layout) }, rendering),
    renderTree: (tree) => renderTree(tree, { ...rendering, name: version.key }),
    hasLayout: (layout) => layoutPath(layout, (path) => files[path] !== undefined) !== undefined,
  }
}

function channelDataOf({ chunk, run }: Walker, { key }: Channel) {
  return chunk.channelData.get(channelDataKey(run.collection, run.recipient, key))
}

function timeZoneOf(scope: Scope, fallback: string): string {
  const { timezone } = scope.recipient
  return typeof timezone === 'string' && isTimeZone(timezone) ? timezone : fallback
}

function sourceOf(
  version: LoadedVersion,
  template: TemplateText,
): { name: string; source: string } {
  if (typeof template === 'string') return { name: version.key, source: template }
  const name = resolveFile(version.key, template.file)
  const source = name === undefined ? undefined : version.files[name]
  assert(name !== undefined && source !== undefined, `${template.file} is not in the version`)
  return { name, source }
}

const localesByVersion = new WeakMap<LoadedVersion, readonly LocaleTexts[]>()

/** The texts of the version's locales, read when its first template is rendered. */
function translationsOf(version: LoadedVersion, fallback: string): Translations {
  let files = localesByVersion.get(version)
  if (files === undefined) localesByVersion.set(version, (files = readLocales(version.files)))
  return { files, fallback }
}

const partialsByVersion = new WeakMap<LoadedVersion, Readonly<Record<string, string>>>()

/** The version's partials by the name that templates call them. */
function partialsOf(version: LoadedVersion): Readonly<Record<string, string>> {
  const known = partialsByVersion.get(version)
  if (known) return known
  const prefix = `${PARTIALS}/`
  const partials = Object.fromEntries(
    Object.entries(version.files)
      .filter(([path]) => path.startsWith(prefix) && path.endsWith('.hbs'))
      .map(([path, source]) => [path.slice(prefix.length, -'.hbs'.length), source]),
  )
  partialsByVersion.set(version, partials)
  return partials
}
