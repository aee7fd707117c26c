import type { EnvironmentName } from '../ids.ts'
import { checkAgainstEnvironment } from './check.ts'
import { errorAt, sortDiagnostics, warningAt, type Diagnostic } from './diagnostic.ts'
import { checkScheduledWorkflows } from './declared-schedules.ts'
import { readDirectory } from './directory.ts'
import type { Entry } from './draft.ts'
import { checkCount } from './entry.ts'
import {
  checkNames,
  checkPromotions,
  parseDeclaration,
  parseEnvironment,
  type EnvironmentContext,
  type Promotion,
} from './environment-file.ts'
import { checkPreferenceUses } from './environment-preferences.ts'
import type { EnvironmentSettings } from './environment.ts'
import { linkVersion } from './link.ts'
import type { ProviderShape } from './environment-schema.ts'
import { previewSettings } from './preview-settings.ts'
import { previewWorkflow } from './preview.ts'
import { samplesOf } from './sample.ts'
import { parseSharedParts } from './shared.ts'
import { parseWorkflowDirectory } from './snapshot.ts'
import { sortFiles } from './tree.ts'
import type { EnvironmentUses, Version } from './workflow.ts'

/** What a set of files says, checked as a revision would be. */
export interface Validation {
  /** Sorted by place. */
  readonly diagnostics: readonly Diagnostic[]
  readonly workflows: number
  readonly environments: number
  readonly errors: number
  readonly warnings: number
}

export interface ValidationOptions {
  readonly providers: readonly ProviderShape[]
  /** Warnings count as errors. */
  readonly strict?: boolean
}

/**
 * Checks what stands on disk in `root`: every workflow for itself, and with every environment
 * there. Which secrets a server has is not known here, and none is missed. Throws where the
 * directory cannot be read.
 */
export async function validateDirectory(
  root: string,
  options: ValidationOptions,
): Promise<Validation & { readonly files: ReadonlyMap<string, Entry> }> {
  const files = await readDirectory(root)
  return { ...validateFiles(files, options), files }
}

/** Checks a set of files, by path from the repository's root. */
export function validateFiles(
  files: ReadonlyMap<string, Entry>,
  { providers, strict = false }: ValidationOptions,
): Validation {
  const tree = sortFiles(files)
  const shared = parseSharedParts(tree.shared)
  const uses: EnvironmentUses[] = []
  const versions: Version[] = []
  const found: Diagnostic[] = [
    ...checkCount(tree.workflows.size),
    ...tree.diagnostics,
    ...shared.diagnostics,
  ]
  for (const [key, entries] of tree.workflows) {
    const linked = linkVersion(parseWorkflowDirectory(key, entries), shared)
    found.push(...linked.diagnostics)
    uses.push(linked.kind === 'version' ? linked.version : linked.uses)
    if (linked.kind === 'version') versions.push(linked.version)
  }
  const workflows = versions.map(({ key, workflow }) => ({
    key,
    categories: workflow.categories ?? [],
  }))
  const places = [...tree.environments].map(([name, { path }]) => ({ name, path }))
  found.push(...checkNames(places).map(({ diagnostic }) => diagnostic))
  const context: EnvironmentContext = {
    providers,
    hasSecret: () => true,
    findFile: (path) => files.get(path)?.bytes,
  }
  const promotions: Promotion[] = []
  for (const [name, { path, file }] of tree.environments) {
    const parsed = parseEnvironment(name as EnvironmentName, path, { bytes: file.bytes, context })
    if (parsed.kind === 'invalid') found.push(...parsed.diagnostics)
    else {
      found.push(...checkAll(uses, name, parsed.settings))
      // Of a workflow that is broken nobody knows its categories.
      if (workflows.length === tree.workflows.size)
        found.push(...checkPreferenceUses(parsed.uses, workflows))
      found.push(...checkScheduledWorkflows(parsed.settings, tree.workflows.keys()))
    }
    const declared = parseDeclaration(name, path, { bytes: file.bytes, providers })
    if (declared.kind === 'invalid') continue
    const from = declared.declaration.policy.promotes_from
    if (from !== null) promotions.push({ name, from, path, at: declared.at })
  }
  found.push(...checkSamples(versions, previewSettings(tree.environments, providers)))
  const promoting = checkPromotions(promotions, tree.environments.keys())
  found.push(...promoting.map(({ diagnostic }) => diagnostic))
  const diagnostics = sortDiagnostics(found.map((one) => (strict ? promoted(one) : one)))
  const errors = diagnostics.filter(({ severity }) => severity === 'error').length
  return {
    diagnostics,
    workflows: tree.workflows.size,
    environments: tree.environments.size,
    errors,
    warnings: diagnostics.length - errors,
  }
}

/** Renders every sample, in the environment in which templates are written. */
function checkSamples(
  versions: readonly Version[],
  settings: EnvironmentSettings,
): readonly Diagnostic[] {
  return versions.flatMap((version) =>
    samplesOf(version).flatMap(({ path, sample, diagnostics }) => {
      const { messages } = previewWorkflow({ version, settings, sample, now: SAMPLE_TIME })
      const problems = messages.flatMap(({ step, diagnostics: inMessage }) =>
        inMessage.map(({ severity, code, message }) => {
          const report = severity === 'error' ? errorAt : warningAt
          return report(
            path,
            { line: 1, column: 1 },
            { code, message: `step "${step}": ${message}` },
          )
        }),
      )
      return [...diagnostics, ...problems]
    }),
  )
}

/** When a sample is rendered that does not say; no clock, so that the same files give the same answer. */
const SAMPLE_TIME = new Date('2026-01-01T12:00:00Z')

/** Says of each problem in which environment it is one: the files are the same for all. */
function checkAll(
  uses: readonly EnvironmentUses[],
  name: string,
  settings: EnvironmentSettings,
): readonly Diagnostic[] {
  return uses.flatMap((needed) =>
    checkAgainstEnvironment(needed, settings).map((one) => ({
      ...one,
      message: `in "${name}": ${one.message}`,
    })),
  )
}

function promoted(diagnostic: Diagnostic): Diagnostic {
  return { ...diagnostic, severity: 'error' }
}
