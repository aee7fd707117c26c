import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { providers } from '../channels/index.ts'
import { ConfigError } from '../errors.ts'
import type { Diagnostic } from '../workflow/diagnostic.ts'
import { readDirectory } from '../workflow/directory.ts'
import { linkVersion } from '../workflow/link.ts'
import { parseYaml } from '../workflow/parse.ts'
import { previewSettings } from '../workflow/preview-settings.ts'
import { previewWorkflow, type Preview } from '../workflow/preview.ts'
import { samplesOf, type Sample } from '../workflow/sample.ts'
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

/** Finds the directory and the key of `workflows/<key>`, or of a key alone in the directory that is here. */
export function findWorkflow(word: string): { readonly root: string; readonly key: string } {
  const parts = path
    .normalize(word)
    .split(path.sep)
    .filter((part) => part !== '')
  const at = parts.lastIndexOf('workflows')
  const key = parts[at + 1]
  if (at < 0 && parts.length === 1) return { root: '.', key: word }
  if (at < 0 || key === undefined) throw new ConfigError(`${word} is no directory below workflows/`)
  const root = parts.slice(0, at).join(path.sep)
  return { root: path.isAbsolute(word) ? `${path.sep}${root}` : root || '.', key }
}

/** Reads the files and renders the messages. Throws a `ConfigError` for what is named and not there. */
export async function previewFiles(choice: PreviewChoice, now: Date): Promise<FilePreview> {
  const { root, key, step } = choice
  const tree = sortFiles(await readDirectory(root))
  const entries = tree.workflows.get(key)
  if (entries === undefined) throw new ConfigError(`there is no workflow "${key}" in ${root}`)
  const linked = linkVersion(parseWorkflowDirectory(key, entries), parseSharedParts(tree.shared))
  const nothing = { workflow: key, sample: choice.sample ?? null, samples: [], messages: [] }
  if (linked.kind === 'invalid') return { ...nothing, diagnostics: linked.diagnostics }
  const { version } = linked
  const samples = samplesOf(version)
  const names = samples.map(({ sample }) => sample.name)
  const chosen = samples.find(({ sample }) => sample.name === (choice.sample ?? names[0]))
  if (choice.sample !== undefined && chosen === undefined) {
    throw new ConfigError(
      `"${key}" has no sample "${choice.sample}"; there are: ${names.join(', ')}`,
    )
  }
  const preview = previewWorkflow({
    version,
    settings: previewSettings(tree.environments, Object.values(providers), choice.environment),
    sample: await withData(chosen?.sample ?? { name: '' }, choice.dataFile),
    step,
    now,
  })
  if (step !== undefined && preview.messages.length === 0)
    throw new ConfigError(`"${key}" has no step "${step}" that sends`)
  const diagnostics = [...linked.diagnostics, ...(chosen?.diagnostics ?? [])]
  return { ...preview, samples: names, diagnostics }
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
