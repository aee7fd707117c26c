import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { providerList } from '../channels/index.ts'
import { ConfigError } from '../errors.ts'
import type { Diagnostic } from '../workflow/diagnostic.ts'
import { readDirectory } from '../workflow/directory.ts'
import { linkVersion } from '../workflow/link.ts'
import { parseYaml } from '../workflow/parse.ts'
import { previewSettings } from '../workflow/preview-settings.ts'
import { previewWorkflow, type Preview } from '../workflow/preview.ts'
import { samplesOf, type ParsedSample, type Sample } from '../workflow/sample.ts'
import { parseSharedParts } from '../workflow/shared.ts'
import { parseWorkflowDirectory } from '../workflow/snapshot.ts'
import { sortFiles } from '../workflow/tree.ts'

/** What is previewed: a workflow of a directory, by which sample, and how. */
export interface PreviewChoice {
  readonly root: string
  readonly key: string
  readonly sample: string | undefined
  readonly step: string | undefined
  readonly environment: string | undefined
  /** A file with the data of a trigger, in the place of the sample's. */
  readonly dataFile: string | undefined
}

/** A preview of files as they stand on disk, or why there is none. */
export interface FilePreview extends Preview {
  /** The names of all samples there are. */
  readonly samples: readonly string[]
  /** Of the files; with an error among them there are no messages. */
  readonly diagnostics: readonly Diagnostic[]
}

/** Finds the directory and the key of `workflows/<key>`, however it is written, or of a key alone in the directory that is here. */
export function findWorkflow(
  word: string,
  from = '.',
): { readonly root: string; readonly key: string } {
  const parts = path
    .normalize(word)
    .split(path.sep)
    .filter((part) => part !== '')
  const at = parts.lastIndexOf('workflows')
  const key = parts[at + 1]
  if (at < 0 && /^\.{1,2}$/.test(parts[0] ?? '') && !path.isAbsolute(word)) {
    return findWorkflow(path.resolve(from, word))
  }
  if (at < 0 && parts.length === 1) return { root: '.', key: word }
  if (at < 0 || key === undefined) throw new ConfigError(`${word} is no directory below workflows/`)
  const root = parts.slice(0, at).join(path.sep)
  return { root: path.isAbsolute(word) ? `${path.sep}${root}` : root || '.', key }
}

/** Reads the files and renders the messages. Throws a `ConfigError` for what is named and not there. */
export async function previewFiles(choice: PreviewChoice, now: Date): Promise<FilePreview> {
  const { root, key, step, environment } = choice
  const tree = sortFiles(await readDirectory(root))
  const entries = tree.workflows.get(key)
  if (entries === undefined) throw new ConfigError(`there is no workflow "${key}" in ${root}`)
  if (environment !== undefined && !tree.environments.has(environment))
    throw new ConfigError(`there is no environment "${environment}" in ${root}`)
  const linked = linkVersion(parseWorkflowDirectory(key, entries), parseSharedParts(tree.shared))
  if (linked.kind === 'invalid') {
    const { diagnostics } = linked
    return { workflow: key, sample: choice.sample ?? null, samples: [], messages: [], diagnostics }
  }
  const { version } = linked
  const samples = samplesOf(version)
  const chosen = chosenOf(samples, choice)
  const settings = previewSettings(tree.environments, providerList, environment)
  const sample = await withData(chosen?.sample ?? { name: '' }, choice.dataFile)
  const preview = previewWorkflow({ version, settings, sample, step, now })
  if (step !== undefined && preview.messages.length === 0)
    throw new ConfigError(`"${key}" has no step "${step}" that sends`)
  const diagnostics = [...linked.diagnostics, ...(chosen?.diagnostics ?? [])]
  return { ...preview, samples: samples.map((one) => one.sample.name), diagnostics }
}

/** The sample that is named, else the first. */
function chosenOf(
  samples: readonly ParsedSample[],
  { key, sample: name }: PreviewChoice,
): ParsedSample | undefined {
  if (name === undefined) return samples[0]
  const found = samples.find(({ sample }) => sample.name === name)
  if (found !== undefined) return found
  const names = samples.map(({ sample }) => sample.name).join(', ')
  throw new ConfigError(`"${key}" has no sample "${name}"; there are: ${names}`)
}

async function withData(sample: Sample, file: string | undefined): Promise<Sample> {
  if (file === undefined) return sample
  const bytes = await readFile(file).catch(() => {
    throw new ConfigError(`${file} cannot be read`)
  })
  const parsed = parseYaml(file, bytes)
  const data = parsed.kind === 'parsed' ? parsed.file.value : undefined
  if (typeof data !== 'object' || data === null || Array.isArray(data))
    throw new ConfigError(`${file} is no map, in YAML or JSON`)
  return { ...sample, data: data as NonNullable<Sample['data']> }
}

/** Whether anything keeps a message from being rendered. */
export function hasErrors({ diagnostics, messages }: FilePreview): boolean {
  return [...diagnostics, ...messages.flatMap((message) => message.diagnostics)].some(
    ({ severity }) => severity === 'error',
  )
}
