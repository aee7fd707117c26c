import { isKey, type WorkflowKey } from '../ids.ts'
import { didYouMean } from '../language/text.ts'
import { stepTypeOf } from '../steps/index.ts'
import type { TemplateField } from '../steps/step.ts'
import { checkDataSchema } from './data-schema.ts'
import {
  errorAt,
  sortDiagnostics,
  type Diagnostic,
  type Position,
  type Problem,
} from './diagnostic.ts'
import { sampleName } from './sample.ts'
import { soundWorkflow } from './salvage.ts'
import type { Draft, Entry, LayoutUse, ParsedWorkflow, PartUse, TextUse } from './draft.ts'
import { checkDirectory } from './entry.ts'
import { explainViolations } from './explain.ts'
import { checkNames, type NameUse } from './names.ts'
import { parseYaml, type ParsedFile, type Pointer } from './parse.ts'
import { isShared, resolveFile, workflowDirectory } from './paths.ts'
import { inOneGo, weightOfYaml, type Portions } from './portions.ts'
import { validateWorkflow } from './schema.ts'
import { decodeText } from './text.ts'
import { checkOverrides } from './overrides.ts'
import {
  TEMPLATE_BYTES_MAX,
  fileSource,
  readSource,
  variableUse,
  weightOfSource,
  type TemplateSource,
} from './template-source.ts'
import { checkAudiences, checkEventNames, eventTemplates } from './triggers.ts'
import {
  channelUses,
  sourceUses,
  checkPlacedConditions,
  checkSteps,
  listConditions,
  listSteps,
  variablesOf,
  type PlacedStep,
} from './walk.ts'
import type { VariableUse, Workflow } from './workflow.ts'

const START: Position = { line: 1, column: 1 }

/**
 * Reads the directory `workflows/<key>`: `files` has all that is in it, by path from the
 * repository's root. The shared parts come in later, with `linkVersion`, so that the result holds
 * as long as the directory is the same.
 */
export function parseWorkflowDirectory(
  key: string,
  files: ReadonlyMap<string, Entry>,
): ParsedWorkflow {
  return inOneGo(parsePortions(key, files))
}

/** The same, template by template: a directory of large ones takes seconds. */
export function* parsePortions(
  key: string,
  files: ReadonlyMap<string, Entry>,
): Portions<ParsedWorkflow> {
  const directory = workflowDirectory(key)
  const refused = isKey(key) ? checkDirectory(directory, files) : [invalidKey(key, directory)]
  if (refused.length > 0) return failed(key, refused)
  const found = findWorkflowFile(directory, files)
  if ('code' in found) return failed(key, [found])
  const parsed = parseYaml(found.path, found.entry.bytes)
  yield weightOfYaml(found.entry.bytes.byteLength)
  const known = parsed.kind === 'invalid' ? parsed.diagnostics : []
  const { file } = parsed
  if (file === undefined) return failed(key, known)
  const violations = validateWorkflow(file.value)
  const problems = explainViolations(file, violations, known)
  // What is in order is read in any case, so that one run shows all that there is to repair.
  const workflow = soundWorkflow(file.value, violations) as Workflow | undefined
  if (workflow === undefined) return failed(key, problems)
  return yield* readWorkflow({ key: key as WorkflowKey, file, entries: files, problems }, workflow)
}

function failed(key: string, diagnostics: readonly Diagnostic[]): ParsedWorkflow {
  return { key: key as WorkflowKey, diagnostics: sortDiagnostics(diagnostics) }
}

function invalidKey(key: string, directory: string): Diagnostic {
  return errorAt(directory, START, {
    code: 'invalid_key',
    message: `"${key}" cannot be the key of a workflow`,
    hint: 'Use 2 to 255 of a-z, 0-9, "_" and "-", starting with a letter or digit.',
  })
}

function findWorkflowFile(
  directory: string,
  files: ReadonlyMap<string, Entry>,
): { readonly path: string; readonly entry: Entry } | Diagnostic {
  const yaml = `${directory}/workflow.yaml`
  const json = `${directory}/workflow.json`
  const found = [yaml, json].flatMap((path) => {
    const entry = files.get(path)
    return entry === undefined ? [] : [{ path, entry }]
  })
  const [first, second] = found
  if (second !== undefined) {
    const message = 'the directory has a workflow.yaml and a workflow.json'
    return errorAt(json, START, {
      code: 'two_workflow_files',
      message,
      hint: 'Remove one of them.',
    })
  }
  if (first !== undefined) return first
  const other = files.has(`${directory}/workflow.yml`)
  return errorAt(yaml, START, {
    code: 'missing_workflow_file',
    message: 'the directory has no workflow.yaml',
    hint: other
      ? 'Rename workflow.yml to workflow.yaml.'
      : 'Add one, or start the name of a directory of shared parts with "_".',
  })
}

/** What is collected while the parts of a workflow are looked at. */
interface Reading {
  readonly key: WorkflowKey
  readonly file: ParsedFile
  readonly entries: ReadonlyMap<string, Entry>
  readonly diagnostics: Diagnostic[]
  readonly files: Record<string, string>
  readonly parts: PartUse[]
  readonly variables: VariableUse[]
  readonly names: NameUse[]
  readonly texts: TextUse[]
}

interface Source extends Pick<Reading, 'key' | 'file' | 'entries'> {
  /** What is wrong with the file's shape. */
  readonly problems: readonly Diagnostic[]
}

function* readWorkflow(
  { key, file, entries, problems }: Source,
  workflow: Workflow,
): Portions<ParsedWorkflow> {
  const steps = listSteps(workflow.steps ?? [])
  const reading: Reading = {
    key,
    file,
    entries,
    diagnostics: [...problems, ...checkSteps(file, steps), ...checkOverrides(file, steps)],
    files: {},
    parts: [],
    variables: [],
    names: [],
    texts: [],
  }
  for (const placed of listConditions(workflow, steps)) {
    reading.diagnostics.push(...checkPlacedConditions(file, placed))
    reading.variables.push(...variablesOf(file, placed))
  }
  for (const placed of steps) yield* readStep(reading, placed)
  yield* readEvents(reading, workflow)
  const trigger = readTrigger(reading, workflow)
  const read = trigger.trigger ?? workflow.trigger
  const schema = read?.data_schema
  const isSound = !reading.diagnostics.some(({ severity }) => severity === 'error')
  // Of these there may be more than a call takes arguments.
  const diagnostics = sortDiagnostics([
    ...reading.diagnostics,
    ...checkNames(reading.names, schema),
    ...(isSound && read !== undefined ? checkAudiences(file, read) : []),
  ])
  readSamples(reading)
  const blobs = [...entries].map(([path, { blob }]) => [path, blob] as const)
  const draft: Draft = {
    workflow: { ...workflow, ...trigger },
    blobs: Object.fromEntries(blobs),
    files: reading.files,
    parts: reading.parts,
    layouts: steps.flatMap((placed) => layoutUse(reading, placed)),
    texts: reading.texts,
    channelUses: channelUses(file, steps),
    variableUses: [...reading.variables, ...sourceUses(file, workflow, steps)],
  }
  return { key, diagnostics, draft }
}

function* readStep(reading: Reading, { step, pointer }: PlacedStep): Portions<void> {
  const { file } = reading
  const type = stepTypeOf(step)
  for (const field of type.templates(step)) {
    const source = templateSource(reading, field, [...pointer, ...field.path])
    if (source === undefined) continue
    readTemplate(reading, source, field)
    yield weightOfSource(source, field)
  }
  for (const { path, value, secrets = false, required } of type.paths?.(step) ?? []) {
    const place = () => ({ path: file.path, ...file.locate([...pointer, ...path]) })
    const uses = variableUse(value, place, secrets)
    reading.variables.push(...(required ? uses.map((use) => ({ ...use, required })) : uses))
  }
}

/** The templates that make a trigger of an event; they know of the event alone. */
function* readEvents(reading: Reading, { trigger = {} }: Workflow): Portions<void> {
  for (const field of eventTemplates(trigger)) {
    const source = templateSource(reading, field, field.path)
    if (source === undefined) continue
    const { diagnostics, parts, names } = readSource(source, field)
    reading.diagnostics.push(...diagnostics, ...checkEventNames(names))
    reading.parts.push(...parts)
    yield weightOfSource(source, field)
  }
}

/** Samples go with the version as they are: what is wrong with one keeps nothing from being applied. */
function readSamples({ key, entries, files }: Reading): void {
  for (const [path, { bytes }] of entries) {
    if (sampleName(key, path) === undefined) continue
    const decoded = decodeText(path, bytes, TEMPLATE_BYTES_MAX)
    if (decoded.kind === 'text') files[path] = decoded.text
  }
}

function layoutUse({ file, key }: Reading, { step, pointer }: PlacedStep): readonly LayoutUse[] {
  if (step.type !== 'email') return []
  const { html } = step
  const path = typeof html === 'object' ? resolveFile(key, html.file) : undefined
  const body = typeof html === 'string' ? { text: html } : path === undefined ? undefined : { path }
  const at = file.locate(step.layout === undefined ? pointer : [...pointer, 'layout'])
  const place = { path: file.path, ...at }
  const named = step.layout === undefined ? {} : { layout: step.layout }
  return [{ ...named, ...(body && { body }), place }]
}

function readTemplate(reading: Reading, source: TemplateSource, field: TemplateField): void {
  const { diagnostics, parts, variables, names, texts } = readSource(source, field)
  reading.diagnostics.push(...diagnostics)
  reading.parts.push(...parts)
  reading.variables.push(...variables)
  reading.names.push(...names)
  reading.texts.push(...texts)
}

/** The text of a field; undefined where it is a shared file, or where that is a diagnostic. */
function templateSource(
  reading: Reading,
  { template, kind, secrets }: TemplateField,
  pointer: Pointer,
): TemplateSource | undefined {
  const { file } = reading
  if (typeof template === 'string') {
    const locate = (at: Position): Position => file.locateInside(pointer, at)
    return { path: file.path, text: template, locate }
  }
  const at = [...pointer, 'file']
  const path = ownFile(reading, template.file, at)
  if (path === undefined) return undefined
  if (isShared(path)) {
    const place = { path: file.path, ...file.locate(at) }
    reading.parts.push({ part: 'file', name: path, kind, secrets, place })
    return undefined
  }
  const text = readText(reading, path, at)
  return text === undefined ? undefined : fileSource(path, text)
}

/** The path of a file that the workflow names; a shared one is not looked for yet. */
function ownFile(reading: Reading, name: string, pointer: Pointer): string | undefined {
  const path = resolveFile(reading.key, name)
  if (path === undefined) {
    return complain(reading, pointer, {
      code: 'path_leaves_directory',
      message: `"${name}" leads out of the workflow's directory`,
      hint: 'Name a file of the directory, or of _partials/ or _layouts/.',
    })
  }
  if (isShared(path) || reading.entries.has(path)) return path
  const directory = `${workflowDirectory(reading.key)}/`
  const known = [...reading.entries.keys()].map((one) => one.slice(directory.length))
  return complain(reading, pointer, {
    code: 'file_not_found',
    message: `there is no file "${name}"`,
    hint: didYouMean(name, known).hint,
  })
}

function readText(reading: Reading, path: string, pointer: Pointer): string | undefined {
  const known = reading.files[path]
  if (known !== undefined) return known
  const entry = reading.entries.get(path)
  if (entry === undefined)
    return complain(reading, pointer, { code: 'file_not_found', message: path })
  const decoded = decodeText(path, entry.bytes, TEMPLATE_BYTES_MAX)
  if (decoded.kind === 'invalid') {
    reading.diagnostics.push(decoded.diagnostic)
    return undefined
  }
  reading.files[path] = decoded.text
  return decoded.text
}

/** The trigger with its data schema in place, where the file has one. */
function readTrigger(reading: Reading, { trigger }: Workflow): Pick<Workflow, 'trigger'> {
  const schema = trigger?.data_schema
  if (trigger === undefined || schema === undefined) return {}
  const pointer = ['trigger', 'data_schema']
  const name = fileOf(schema)
  if (name === undefined) {
    checkSchema(reading, { file: reading.file, pointer, schema })
    return {}
  }
  const path = ownFile(reading, name, [...pointer, 'file'])
  if (path === undefined) return {}
  const entry = reading.entries.get(path)
  if (entry === undefined) {
    const message = `"${name}" is a shared part; a schema stands in the workflow's directory`
    complain(reading, [...pointer, 'file'], { code: 'path_leaves_directory', message })
    return {}
  }
  const parsed = parseYaml(path, entry.bytes)
  if (parsed.kind === 'invalid') {
    reading.diagnostics.push(...parsed.diagnostics)
    return {}
  }
  const value = parsed.file.value as object
  checkSchema(reading, { file: parsed.file, pointer: [], schema: value })
  return { trigger: { ...trigger, data_schema: value } }
}

/** `{ file: path }` and nothing else: a schema that only says `file` would say nothing. */
function fileOf(schema: object): string | undefined {
  const isFile = 'file' in schema && typeof schema.file === 'string'
  return isFile && Object.keys(schema).length === 1 ? (schema.file as string) : undefined
}

function checkSchema(
  reading: Reading,
  { file, pointer, schema }: { file: ParsedFile; pointer: Pointer; schema: object },
): void {
  const problem = checkDataSchema(schema)
  if (problem === undefined) return
  const at = file.locate([...pointer, ...problem.pointer])
  const message = `this is no JSON Schema: ${problem.message}`
  reading.diagnostics.push(errorAt(file.path, at, { code: 'invalid_data_schema', message }))
}

function complain(reading: Reading, pointer: Pointer, problem: Problem): undefined {
  const { file, diagnostics } = reading
  diagnostics.push(errorAt(file.path, file.locate(pointer), problem))
}
