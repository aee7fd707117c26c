import { readFileSync, writeFileSync } from 'node:fs'
import { providers } from '../src/channels/index.ts'
import { operators } from '../src/language/operators.ts'
import { templateHelpers } from '../src/language/templates.ts'
import { listStepTypes } from '../src/steps/index.ts'
import { editorSchemas } from '../src/workflow/editor.ts'
import { sourceFields } from '../src/workflow/sources.ts'
import { scheduleFields, scheduleSchema } from '../src/workflow/declared-schedules.ts'
import {
  channelFields,
  clientKeyFields,
  environmentFields,
  policyFields,
  variableFields,
} from '../src/workflow/environment-schema.ts'
import { stepFields, workflowFields } from '../src/workflow/schema.ts'
import { apiReference } from './api-reference.ts'

/** The pages that hold tables made from the code. */
const PAGES = ['workflow', 'environment', 'templates', 'providers'].map(
  (name) => `docs/spec/${name}.md`,
)

/** One table: what fields there are, which of them are needed, and what each looks like. */
interface Fields {
  /** What a row is about. */
  readonly head?: string
  readonly properties: Readonly<Record<string, object>>
  readonly required?: readonly string[]
  readonly example?: object
}

const shapes = Object.values(providers)

/** By the name that stands in a page's `<!-- fields: name -->`. */
const tables: Readonly<Record<string, Fields>> = {
  workflow: { properties: workflowFields, required: ['name', 'steps'] },
  step: { properties: stepFields, required: ['ref', 'type'] },
  environment: { properties: environmentFields },
  policy: { properties: policyFields },
  variable: { properties: variableFields },
  'client key': { properties: clientKeyFields },
  source: { properties: sourceFields, required: ['type', 'secret'] },
  channel: { properties: channelFields, required: ['type', 'provider'] },
  schedule: { properties: scheduleFields, required: scheduleSchema.required },
  operators: {
    head: 'operator',
    properties: Object.fromEntries(
      Object.entries(operators).map(([name, { summary }]) => [name, { description: summary }]),
    ),
  },
  helpers: {
    head: 'helper',
    properties: Object.fromEntries(
      Object.entries(templateHelpers).map(([name, description]) => [name, { description }]),
    ),
  },
  ...Object.fromEntries(
    listStepTypes().map((type) => [type.type, { ...type.schema, example: type.example }]),
  ),
  ...Object.fromEntries(
    shapes.map((one) => [`provider ${one.name}`, { ...one.schema, example: one.example }]),
  ),
}

/** What each service says about itself, one row for each provider. */
function services(): string {
  const head = [
    'provider',
    'sends',
    'permanent answers',
    'repeated without doubling by',
    'reports back by',
    'requests a second',
  ]
  const rows = Object.values(providers).map(({ name, type, service }) => [
    `\`${name}\``,
    type,
    service.permanent.join(', '),
    service.idempotency ?? 'nothing: at least once',
    service.reports ?? 'nothing',
    service.perSecond?.toString() ?? 'by account',
  ])
  return [row(head), row(head.map(() => '---')), ...rows.map(row)].join('\n')
}

/** What a step can lay over the request of each provider, and what it cannot. */
function overridables(): string {
  const head = ['provider', 'cannot be set by `overrides`']
  const rows = shapes.flatMap(({ name, overrides }) =>
    overrides === null
      ? []
      : [[`\`${name}\``, overrides.map((field) => `\`${field}\``).join(', ')]],
  )
  return [row(head), row(head.map(() => '---')), ...rows.map(row)].join('\n')
}

/** Every file that is made from the code, by path, as it should be. */
export function generatedFiles(): Readonly<Record<string, string>> {
  const pages = PAGES.map((path) => [path, withTables(readFileSync(path, 'utf8'))])
  const reference = { 'docs/spec/api-reference.md': apiReference() }
  return { ...editorSchemas(shapes), ...Object.fromEntries(pages), ...reference }
}

/** Puts each table behind its mark, in the place of what stands there. */
function withTables(page: string): string {
  const mark = /(<!-- fields: ([a-z_ ]+) -->\n)[\s\S]*?(<!-- end -->)/g
  return page.replace(mark, (_, start: string, name: string, end: string) => {
    if (name === 'services') return `${start}\n${services()}\n\n${end}`
    if (name === 'overrides') return `${start}\n${overridables()}\n\n${end}`
    const fields = tables[name]
    if (fields === undefined) throw new Error(`no fields are known as "${name}"`)
    return `${start}\n${table(fields)}\n\n${end}`
  })
}

function table({ properties, required = [], example, head: first = 'field' }: Fields): string {
  const names = Object.keys(properties)
  if (names.length === 0) return 'None.'
  const rows = names.map((name) => {
    const { description = '' } = properties[name] as { readonly description?: string }
    const shown = example && (example as Readonly<Record<string, unknown>>)[name]
    const cells = [`\`${name}\`${required.includes(name) ? ' *' : ''}`, description]
    return row(example === undefined ? cells : [...cells, inline(shown)])
  })
  const head = example === undefined ? [first, 'meaning'] : [first, 'meaning', 'example']
  return [row(head), row(head.map(() => '---')), ...rows].join('\n')
}

function row(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
}

/** A value as it can stand in a YAML file, on one line. */
function inline(value: unknown): string {
  return value === undefined ? '' : `\`${typeof value === 'string' ? value : flow(value)}\``
}

function flow(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(flow).join(', ')}]`
  if (typeof value !== 'object' || value === null) {
    return typeof value === 'string' && /^[\w./-]+$/.test(value) ? value : JSON.stringify(value)
  }
  const entries = Object.entries(value).map(([key, item]) => `${key}: ${flow(item)}`)
  return entries.length === 0 ? '{}' : `{ ${entries.join(', ')} }`
}

if (import.meta.main) {
  for (const [path, text] of Object.entries(generatedFiles())) writeFileSync(path, text)
}
