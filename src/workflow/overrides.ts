import { isProviderName, providers } from '../channels/index.ts'
import { keptField } from '../channels/overrides.ts'
import type { JsonObject } from '../json.ts'
import { didYouMean } from '../language/text.ts'
import { stepTypeOf } from '../steps/index.ts'
import { errorAt, type Diagnostic, type Problem } from './diagnostic.ts'
import type { ParsedFile } from './parse.ts'
import type { PlacedStep } from './walk.ts'

/** Overrides of providers that cannot take them, and of fields that a provider sets itself. */
export function checkOverrides(
  file: ParsedFile,
  steps: readonly PlacedStep[],
): readonly Diagnostic[] {
  return steps.flatMap(({ step, pointer }) => {
    const overrides = 'overrides' in step ? step.overrides : undefined
    return Object.entries(overrides ?? {}).flatMap(([name, tree]) => {
      const found = problemOf(name, tree, stepTypeOf(step).channelType)
      if (found === undefined) return []
      const { path, ...problem } = found
      return errorAt(file.path, file.locateKey([...pointer, 'overrides', name, ...path]), problem)
    })
  })
}

/** What a template brings is looked at when the message is handed over. */
function isTemplate(value: unknown): boolean {
  return typeof value === 'string' && value.includes('{{')
}

function problemOf(
  name: string,
  tree: JsonObject,
  type: string | undefined,
): (Problem & { readonly path: readonly string[] }) | undefined {
  const known = Object.values(providers).filter(
    (one) => one.type === type && one.overrides !== null,
  )
  const provider = isProviderName(name) ? providers[name] : undefined
  if (provider === undefined || provider.type !== type || provider.overrides === null) {
    const names = known.map((one) => one.name)
    const message =
      provider === undefined
        ? `there is no provider "${name}"`
        : `overrides of "${name}" cannot stand here`
    const hint = didYouMean(name, names).hint ?? `Of this type are: ${names.join(', ')}.`
    return { path: [], code: 'unknown_provider', message, hint }
  }
  const path = keptField(tree, provider.overrides, isTemplate)
  if (path === undefined) return undefined
  const message = `overrides of "${name}" cannot set ${path.join('.')}`
  const hint = 'It is set by the message itself, its recipient or its channel.'
  return { path, code: 'reserved_override', message, hint }
}
