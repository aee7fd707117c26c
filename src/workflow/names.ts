import { conditionPrefixes } from '../language/condition-argument.ts'
import { didYouMean } from '../language/text.ts'
import { warningAt, type Diagnostic } from './diagnostic.ts'
import type { Place } from './draft.ts'

/** A value that a template names, by its full path from the scope. */
export interface NameUse {
  readonly path: string
  readonly place: Place
}

/** What a template can name at the top: what conditions can, the time of its rendering, and the reader's zone, locale and direction. */
const templateNames: readonly string[] = [
  ...conditionPrefixes,
  'activities',
  'actors',
  'total_activities',
  'total_actors',
  'timestamp',
  'timezone',
  'locale',
  'direction',
]

/**
 * Warns of names that are in neither the scope nor the data schema: they would render empty, each
 * time and without a word. A schema that lists no properties says nothing about names.
 */
export function checkNames(
  uses: readonly NameUse[],
  schema: object | undefined,
): readonly Diagnostic[] {
  const declared = declaredNames(schema)
  return uses.flatMap(({ path, place }) => {
    const [root = '', name] = path.split('.')
    if (!templateNames.includes(root)) {
      const message = `nothing is called "${root}" here: it renders empty`
      const hint = didYouMean(root, templateNames).hint ?? `There are: ${templateNames.join(', ')}.`
      return [warningAt(place.path, place, { code: 'unknown_name', message, hint })]
    }
    if (root !== 'data' || name === undefined || name === '*') return []
    if (declared === undefined || declared.includes(name)) return []
    const message = `the data schema has no property "${name}": it may render empty`
    const hint = didYouMean(name, declared).hint ?? 'Add it to the properties of the data schema.'
    return [warningAt(place.path, place, { code: 'undeclared_data', message, hint })]
  })
}

/** Keywords beside `properties` that can declare names. */
const OPEN_KEYWORDS = ['$ref', '$dynamicRef', 'allOf', 'anyOf', 'oneOf', 'if', 'patternProperties']

/** The properties that a schema declares; undefined where others may be meant as well. */
function declaredNames(schema: object | undefined): readonly string[] | undefined {
  if (schema === undefined || OPEN_KEYWORDS.some((keyword) => keyword in schema)) return undefined
  if (!('properties' in schema) || typeof schema.properties !== 'object') return undefined
  return Object.keys(schema.properties ?? {})
}
