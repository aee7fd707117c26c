import { isJsonObject } from '../json.ts'
import { checkDataSchema, compileDataSchema } from './data-schema.ts'
import { errorAt, type Diagnostic } from './diagnostic.ts'
import { parseYaml, type ParsedFile } from './parse.ts'
import { workflowDirectory } from './paths.ts'
import type { Version } from './workflow.ts'

/** What a preview is rendered with: a trigger as it may come, and the people it is about. */
export interface Sample {
  /** The file's name without its end; empty for one that is made up. */
  readonly name: string
  readonly description?: string
  readonly recipient?: Properties
  readonly actor?: Properties | null
  readonly tenant?: Properties | null
  readonly data?: Properties
  /** Laid over the variables of the environment. */
  readonly vars?: Properties
  readonly refs?: Readonly<Record<string, Properties>>
  /** What ended the latest wait for an event. */
  readonly event?: Properties | null
  /** What a batch shows; each is the data of one trigger, with `actor` and `inserted_at` beside it. */
  readonly activities?: readonly SampleActivity[]
  readonly total_activities?: number
  /** When it is rendered; ISO 8601. */
  readonly timestamp?: string
}

interface SampleActivity {
  readonly data?: Properties
  readonly actor?: Properties | null
  readonly inserted_at?: string
}

type Properties = Readonly<Record<string, unknown>>

/** A sample as its file has it, and what is wrong with it. */
export interface ParsedSample {
  readonly path: string
  readonly sample: Sample
  /** Sorted. */
  readonly diagnostics: readonly Diagnostic[]
}

/** What a sample may say, each with the test that its value has to pass. */
const FIELDS: Readonly<Record<string, readonly [what: string, test: (value: unknown) => boolean]>> =
  {
    description: ['a text', (value) => typeof value === 'string'],
    recipient: ['a map', isJsonObject],
    actor: ['a map', (value) => value === null || isJsonObject(value)],
    tenant: ['a map', (value) => value === null || isJsonObject(value)],
    data: ['a map', isJsonObject],
    vars: ['a map', isJsonObject],
    refs: [
      'a map of maps',
      (value) => isJsonObject(value) && Object.values(value).every(isJsonObject),
    ],
    event: ['a map', (value) => value === null || isJsonObject(value)],
    activities: ['a list of maps', (value) => Array.isArray(value) && value.every(isJsonObject)],
    total_activities: ['a whole number', (value) => Number.isSafeInteger(value)],
    timestamp: [
      'a time as of ISO 8601',
      (value) => typeof value === 'string' && !Number.isNaN(Date.parse(value)),
    ],
  }

/** The name of the sample that a path of a workflow's directory holds; undefined for any other file. */
export function sampleName(key: string, path: string): string | undefined {
  const prefix = `${workflowDirectory(key)}/samples/`
  if (!path.startsWith(prefix)) return undefined
  return /^([^/]+)\.(?:ya?ml|json)$/.exec(path.slice(prefix.length))?.[1]
}

/** The samples of a version, in the order of their names. What is wrong with one is told beside what is right. */
export function samplesOf(
  version: Pick<Version, 'key' | 'files' | 'workflow'>,
): readonly ParsedSample[] {
  return Object.entries(version.files)
    .flatMap(([path, text]) => {
      const name = sampleName(version.key, path)
      return name === undefined ? [] : [parseSample(version, { path, name, text })]
    })
    .toSorted((a, b) => (a.sample.name < b.sample.name ? -1 : 1))
}

function parseSample(
  { workflow }: Pick<Version, 'workflow'>,
  { path, name, text }: { readonly path: string; readonly name: string; readonly text: string },
): ParsedSample {
  const parsed = parseYaml(path, Buffer.from(text))
  if (parsed.kind === 'invalid') return { path, sample: { name }, diagnostics: parsed.diagnostics }
  const { file } = parsed
  if (!isJsonObject(file.value)) {
    const problem = { code: 'invalid_sample', message: 'a sample is a map' }
    return { path, sample: { name }, diagnostics: [errorAt(path, { line: 1, column: 1 }, problem)] }
  }
  const found = Object.entries(file.value).flatMap(([key, value]) => fieldProblem(file, key, value))
  const wrong = new Set(found.map(({ key }) => key))
  const fields = Object.entries(file.value).filter(([key]) => !wrong.has(key))
  const sample = { ...(Object.fromEntries(fields) as Omit<Sample, 'name'>), name }
  const diagnostics = found.map(({ diagnostic }) => diagnostic)
  return {
    path,
    sample,
    diagnostics: [...diagnostics, ...dataProblems(file, sample, workflow.trigger?.data_schema)],
  }
}

function fieldProblem(
  file: ParsedFile,
  key: string,
  value: unknown,
): readonly { readonly key: string; readonly diagnostic: Diagnostic }[] {
  const field = Object.hasOwn(FIELDS, key) ? FIELDS[key] : undefined
  if (field?.[1](value)) return []
  const message = field ? `"${key}" is ${field[0]}` : `a sample has no "${key}"`
  const hint = `There are: ${Object.keys(FIELDS).join(', ')}.`
  const problem = { code: 'invalid_sample', message, ...(!field && { hint }) }
  return [{ key, diagnostic: errorAt(file.path, file.locateKey([key]), problem) }]
}

/** A trigger with the sample's data would be refused. */
function dataProblems(
  file: ParsedFile,
  { data }: Sample,
  schema: object | undefined,
): readonly Diagnostic[] {
  if (schema === undefined || checkDataSchema(schema) !== undefined) return []
  return compileDataSchema(schema)(data ?? {}).map(({ field, message }) => {
    const problem = {
      code: 'sample_breaks_schema',
      message: `a trigger with this data would be refused: data${field} ${message}`,
    }
    return errorAt(file.path, file.locate(['data', ...field.split('/').slice(1)]), problem)
  })
}
