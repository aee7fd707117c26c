import { routes } from '../src/api/index.ts'
import { clientAccess } from '../src/api/client-access.ts'
import { describeApi, type Operation, type Parameter } from '../src/api/openapi.ts'
import { tierOf } from '../src/api/rate-limits.ts'
import type { Route } from '../src/api/route.ts'
import type { Schema } from '../src/api/shapes/shape.ts'

const contract = describeApi(routes)

/** Every call and every shape of the API, as a page. */
export function apiReference(): string {
  const tags = contract.tags.map(({ name }) => {
    const calls = routes.filter(({ id }) => id.startsWith(`${name}.`))
    return [`## ${name}`, ...calls.map(callSection)].join('\n\n')
  })
  const shapes = Object.entries(contract.components.schemas).map(
    ([title, schema]) => `### ${title}\n\n${shapeText(schema)}`,
  )
  return `${[HEAD, ...tags, '## Shapes', ...shapes].join('\n\n')}\n`
}

const HEAD = `# API reference

Made of \`/openapi.json\` by \`node scripts/docs.ts\`; [the API](../api.md) says what is to be known beside. Fields with a * are needed, or always there.
Each call with a key also takes \`environment\` from an operator where the path names none, and each that changes something
an \`Idempotency-Key\`. What is refused is answered with an [Error](#error).`

function callSection(route: Route): string {
  const path = route.path.replaceAll(/:(\w+)/g, '{$1}')
  const operation = contract.paths[path]?.[route.method.toLowerCase()]
  if (!operation) throw new Error(`the contract has no ${route.method} ${path}`)
  return [
    `### \`${route.method} ${path}\``,
    `${route.summary}. ${accessOf(route)}.`,
    ...parametersText(operation),
    ...bodyText(operation),
    repliesText(operation),
  ].join('\n\n')
}

function accessOf(route: Route): string {
  const name = `\`${route.id}\``
  if (route.kind === 'open') return `${name}; open to everybody`
  if (route.kind === 'signed') return `${name}; proves itself by what it sends`
  const client = clientAccess(route) ? ', or a public key for its user' : ''
  return `${name}; scope \`${route.scope}\`${client}; tier ${tierOf(route)}`
}

function parametersText({ parameters }: Operation): readonly string[] {
  const own = parameters
    .filter((one): one is Parameter => 'name' in one)
    // What a path holds is any text where nothing else is said.
    .filter((one) => one.in !== 'path' || Object.keys(one.schema).join() !== 'type')
  if (own.length === 0) return []
  const rows = own.map(({ name, in: place, required, schema }) =>
    row([starred(name, required), place, typeOf(schema), meaningOf(schema)]),
  )
  return [table(['parameter', 'in', 'type', 'meaning'], rows)]
}

function bodyText({ requestBody }: Operation): readonly string[] {
  const schema = requestBody?.content['application/json']?.schema
  if (!schema || Object.keys(schema).length === 0) return []
  const note = requestBody.required ? [] : ['The body may be left out.']
  return [...note, fieldsTable('field of the body', schema)]
}

function repliesText({ responses }: Operation): string {
  const own = Object.entries(responses).filter(([status]) => !status.endsWith('XX'))
  const lines = own.map(([status, response]) => {
    const { content = {} } = response as { readonly content?: Readonly<Record<string, Media>> }
    const what = Object.entries(content).map(([type, { schema }]) =>
      type === 'application/json' ? typeOf(schema) : `\`${type}\``,
    )
    return `${status}: ${what.length === 0 ? 'no body' : what.join(' or ')}`
  })
  return `Answers ${lines.join('; ')}.`
}

interface Media {
  readonly schema: Schema
}

function shapeText(schema: Schema): string {
  const { description } = schema
  const said = typeof description === 'string' ? `${description}\n\n` : ''
  return `${said}${'properties' in schema ? fieldsTable('field', schema) : `${capital(typeOf(schema))}.`}`
}

function fieldsTable(head: string, schema: Schema): string {
  const { properties = {}, required = [], additionalProperties } = schema as ObjectSchema
  const rows = Object.entries(properties).map(([name, field]) =>
    row([starred(name, required.includes(name)), typeOf(field), meaningOf(field)]),
  )
  const more = additionalProperties === true ? ['', 'And whatever else it was given.'] : []
  return [table([head, 'type', 'meaning'], rows), ...more].join('\n')
}

interface ObjectSchema {
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly additionalProperties?: Schema | boolean
}

function starred(name: string, isNeeded: boolean): string {
  return `\`${name}\`${isNeeded ? ' *' : ''}`
}

/** Bounds of a value, and what they count. */
const BOUNDS: Readonly<Record<string, string>> = {
  minimum: '# at least',
  maximum: '# at most',
  minItems: '# at least',
  maxItems: '# at most',
  maxLength: '# characters at most',
}

function meaningOf(schema: Schema): string {
  const { description } = schema
  const bounds = Object.entries(BOUNDS).flatMap(([name, text]) => {
    const bound = schema[name]
    return typeof bound === 'number' ? [text.replace('#', bound.toLocaleString('en'))] : []
  })
  const said = typeof description === 'string' ? [description] : []
  return [...said, ...(bounds.length > 0 ? [`${capital(bounds.join(', '))}.`] : [])].join(' ')
}

/** A schema in a few words. */
function typeOf(schema: Schema): string {
  const { $ref, anyOf, const: value, enum: values, type, items } = schema
  if (typeof $ref === 'string') return linkTo($ref.replace(/^.*\//, ''))
  if (Array.isArray(anyOf)) return anyOf.map((one) => typeOf(one as Schema)).join(' or ')
  if (value !== undefined) return valueText(value)
  if (Array.isArray(values)) return values.map(valueText).join(', ')
  const types = (Array.isArray(type) ? type : [type]) as readonly (string | undefined)[]
  return types
    .map((one) => {
      if (one === 'array') return items ? `list of ${typeOf(items as Schema)}` : 'list'
      return one === 'object' ? objectText(schema) : nameOf(one, schema)
    })
    .join(' or ')
}

function objectText(schema: Schema): string {
  const { properties, required = [] } = schema as ObjectSchema
  const names = Object.keys(properties ?? {})
  if (names.length === 0) return 'object'
  return `\`{ ${names.map((name) => (required.includes(name) ? name : `${name}?`)).join(', ')} }\``
}

function nameOf(type: string | undefined, { format }: Schema): string {
  if (type === 'string') return typeof format !== 'string' ? 'text' : (FORMATS[format] ?? 'text')
  return type === 'integer' ? 'whole number' : (type ?? 'anything')
}

const FORMATS: Readonly<Record<string, string>> = {
  'date-time': 'time',
  timestamp: 'time',
  uuid: 'UUID',
}

function valueText(value: unknown): string {
  if (value === null) return 'null'
  return `\`${typeof value === 'string' ? value : JSON.stringify(value)}\``
}

function linkTo(title: string): string {
  return `[${title}](#${title.toLowerCase()})`
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}

function table(head: readonly string[], rows: readonly string[]): string {
  return [row(head), row(head.map(() => '---')), ...rows].join('\n')
}

function row(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
}
