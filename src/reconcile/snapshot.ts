import { secretNames } from '../channels/secret.ts'
import type { Entry, RevisionTree } from '../git/source.ts'
import type { EnvironmentName, WorkflowKey } from '../ids.ts'
import type { Queryable } from '../db/database.ts'
import { sortDiagnostics } from '../workflow/diagnostic.ts'
import type { Diagnostic } from '../workflow/diagnostic.ts'
import type { EnvironmentSettings } from '../workflow/environment.ts'
import { checkAgainstEnvironment } from '../workflow/check.ts'
import { checkScheduledWorkflows } from '../workflow/declared-schedules.ts'
import { checkCount, checkEntry } from '../workflow/entry.ts'
import { checkPreferenceUses, type PreferenceUse } from '../workflow/environment-preferences.ts'
import { parseEnvironment } from '../workflow/environment-file.ts'
import type { FindFile } from '../workflow/client-keys.ts'
import type { ProviderShape } from '../workflow/environment-schema.ts'
import { checkStrays, findEnvironmentFile } from './declarations.ts'
import type { Phases } from './measure.ts'
import { areKeysSame, listKeyFiles, readKeyFiles } from './key-files.ts'
import { isWorkflowDirectory, planChanges, planParts } from './plan.ts'
import type { Parts, Plan } from './plan.ts'
import { listCategories, listKnownWorkflows, listUsersOfParts, listUses } from './store.ts'
import type { KnownEnvironment } from './store.ts'
import { eachVersion, listShared, packVersion } from './versions.ts'
import type { PackedVersion, VersionsContext } from './versions.ts'

/** All that a revision says to one environment, and how that differs from what is applied. */
export interface Snapshot {
  readonly plan: Plan
  /** The versions that had to be read; of all others nothing changed. */
  readonly versions: readonly PackedVersion[]
  /** Null where the environment's file, the lack of it, or the number of workflows keeps the revision from being applied. */
  readonly settings: EnvironmentSettings | null
  readonly parts: Parts
  /** Errors first, each kind by place. */
  readonly diagnostics: readonly Diagnostic[]
}

export interface SnapshotContext {
  readonly database: Queryable
  readonly known: KnownEnvironment
  /** In development an environment without a file has the default settings. */
  readonly fileOptional: boolean
  readonly providers: readonly ProviderShape[]
  readonly hasSecret: (environment: EnvironmentName, name: string) => boolean
  /** Ends the reading before its next step, with the signal's reason. */
  readonly signal?: AbortSignal
  readonly phases?: Phases
}

/**
 * Reads a revision as far as it differs from the applied one: directories with another tree id,
 * workflows whose layouts or partials moved, and the environment's file.
 */
export async function readSnapshot(
  tree: RevisionTree,
  context: SnapshotContext,
): Promise<Snapshot> {
  const { database, known } = context
  const workflows = [...tree.directories.keys()].filter(isWorkflowDirectory)
  const tooMany = checkCount(workflows.length)
  if (tooMany.length > 0) {
    const plan = planChanges([], new Map())
    return { plan, versions: [], settings: null, parts: {}, diagnostics: tooMany }
  }
  context.phases?.enter('diff')
  const plan = planChanges(await listKnownWorkflows(database, known.name), tree.directories)
  const shared = await listShared(tree)
  const settings = await readSettings(tree, context)
  context.phases?.enter('diff')
  const parts = partsOf([...shared, ...settings.entries])
  const touched = [
    ...plan.added,
    ...plan.changed,
    ...plan.restored,
    ...(await listTouchedByParts(database, { known, plan, parts: partsOf(shared) })),
  ]
  const { signal, phases } = context
  const read = await readChecked(tree, touched, {
    shared,
    signal,
    phases,
    settings: settings.value,
  })
  phases?.enter('compile')
  const diagnostics = [
    ...checkStrays(tree),
    ...shared.flatMap((entry) => checkEntry(entry.path, entry)),
    ...settings.diagnostics,
    ...read.diagnostics,
    ...(settings.value === null ? [] : checkScheduledWorkflows(settings.value, workflows)),
    ...(await checkOthers(settings, { context, plan, versions: read.versions })),
    ...(await checkNamed(settings, { context, plan, versions: read.versions })),
    ...keptWarnings(known, { plan, touched, settings }),
  ]
  const sorted = [
    ...sortDiagnostics(diagnostics.filter(({ severity }) => severity === 'error')),
    ...sortDiagnostics(diagnostics.filter(({ severity }) => severity === 'warning')),
  ]
  const { versions } = read
  return { plan, versions, settings: settings.value, parts, diagnostics: sorted }
}

interface SettingsRead {
  readonly value: EnvironmentSettings | null
  readonly isNew: boolean
  /** What the preferences of new settings name. */
  readonly uses?: readonly PreferenceUse[]
  readonly entries: readonly Entry[]
  readonly diagnostics: readonly Diagnostic[]
}

async function readSettings(tree: RevisionTree, context: SnapshotContext): Promise<SettingsRead> {
  const { known } = context
  const file = findEnvironmentFile(tree, known.name)
  if (file.kind === 'absent' && context.fileOptional) {
    return parseSettings(context, file.diagnostic.path, { bytes: EMPTY_FILE })
  }
  if (file.kind !== 'found') {
    return { value: null, isNew: true, entries: [], diagnostics: [file.diagnostic] }
  }
  const { path, blob } = file.entry
  if (
    known.settings !== null &&
    known.parts[path] === blob &&
    // A workflow that was missed may be there now.
    !known.diagnostics.some(({ code }) => isMissed(code)) &&
    areKeysSame(tree, { settings: known.settings, parts: known.parts }) &&
    hasSecrets(context, known.settings)
  ) {
    const entries = [file.entry, ...listKeyFiles(tree, known.settings)]
    return { value: known.settings, isNew: false, entries, diagnostics: [] }
  }
  return readSettingsFile(tree, context, file.entry)
}

async function readSettingsFile(
  tree: RevisionTree,
  context: SnapshotContext,
  entry: Entry,
): Promise<SettingsRead> {
  const { path, blob } = entry
  context.phases?.enter('read')
  const bytes = (await tree.read([blob])).get(blob) ?? new Uint8Array()
  const findFile = await readKeyFiles(tree)
  context.phases?.enter('compile')
  const read = parseSettings(context, path, { bytes, findFile })
  const keys = read.value === null ? [] : listKeyFiles(tree, read.value)
  return { ...read, entries: [entry, ...keys] }
}

function isMissed(code: string): boolean {
  return code === 'unknown_workflow' || code === 'unknown_category'
}

/** Where one is missing, the file is read again, for the place where it is named. */
function hasSecrets(
  { known, hasSecret }: SnapshotContext,
  { variables, channels }: EnvironmentSettings,
): boolean {
  return secretNames([variables, channels]).every((name) => hasSecret(known.name, name))
}

/** What an environment is without a word about it. */
const EMPTY_FILE = Buffer.from('{}')

function parseSettings(
  { known, providers, hasSecret }: SnapshotContext,
  path: string,
  { bytes, ...files }: { readonly bytes: Uint8Array; readonly findFile?: FindFile },
): SettingsRead {
  const context = { providers, hasSecret: (name: string) => hasSecret(known.name, name), ...files }
  const parsed = parseEnvironment(known.name, path, { bytes, context })
  return parsed.kind === 'settings'
    ? {
        value: parsed.settings,
        isNew: true,
        uses: parsed.uses,
        entries: [],
        diagnostics: [],
      }
    : { value: null, isNew: true, entries: [], diagnostics: parsed.diagnostics }
}

function partsOf(entries: readonly Entry[]): Parts {
  return Object.fromEntries(entries.map(({ path, blob }) => [path, blob]))
}

/** Workflows whose own directory is the same, and whose layouts, partials or locales are not. */
async function listTouchedByParts(
  database: Queryable,
  {
    known,
    plan,
    parts,
  }: { readonly known: KnownEnvironment; readonly plan: Plan; readonly parts: Parts },
): Promise<readonly WorkflowKey[]> {
  if (plan.same.length === 0) return []
  const shared = Object.entries(known.parts).filter(([path]) => path.startsWith('workflows/'))
  const { moved, concernsAll } = planParts(Object.fromEntries(shared), parts)
  if (concernsAll) return plan.same
  if (moved.length === 0) return []
  const users = new Set(await listUsersOfParts(database, known.name, moved))
  return plan.same.filter((key) => users.has(key))
}

/** What a revision says beside its workflows, read anew; undefined where that is broken. */
export async function readBeside(
  tree: RevisionTree,
  { known, ...context }: SnapshotContext,
): Promise<{ readonly settings: EnvironmentSettings; readonly parts: Parts } | undefined> {
  const { value, entries } = await readSettings(tree, {
    ...context,
    known: { ...known, settings: null },
  })
  if (value === null) return undefined
  return { settings: value, parts: partsOf([...(await listShared(tree)), ...entries]) }
}

interface Read {
  readonly versions: readonly PackedVersion[]
  readonly diagnostics: readonly Diagnostic[]
}

/** Reads these workflows, checks each against the settings, and packs it. */
async function readChecked(
  tree: RevisionTree,
  keys: readonly WorkflowKey[],
  { settings, ...context }: VersionsContext & { readonly settings: EnvironmentSettings | null },
): Promise<Read> {
  const versions: PackedVersion[] = []
  const found: (readonly Diagnostic[])[] = []
  for await (const result of eachVersion(tree, keys, context)) {
    found.push(result.diagnostics)
    if (result.kind !== 'version') continue
    if (settings !== null) found.push(checkAgainstEnvironment(result.version, settings))
    versions.push(packVersion(result.version))
  }
  return { versions, diagnostics: found.flat() }
}

interface Checked {
  readonly context: SnapshotContext
  readonly plan: Plan
  readonly versions: readonly PackedVersion[]
}

/** Checks new settings also against all that was not read. */
async function checkOthers(
  { value, isNew }: SettingsRead,
  { context, plan, versions }: Checked,
): Promise<readonly Diagnostic[]> {
  if (value === null || !isNew || plan.same.length === 0) return []
  const { database, known } = context
  const read = new Set<WorkflowKey>(versions.map(({ key }) => key))
  const same = new Set(plan.same)
  const stored = await listUses(database, known.name)
  return stored
    .filter(({ key }) => same.has(key) && !read.has(key))
    .flatMap((uses) => checkAgainstEnvironment(uses, value))
}

/** Checks that what the settings name for preferences is there, in what was read or in what stays. */
async function checkNamed(
  { value, uses: named = [] }: SettingsRead,
  { context, plan, versions }: Checked,
): Promise<readonly Diagnostic[]> {
  if (value === null || named.length === 0) return []
  const same = new Set(plan.same)
  const stored = await listCategories(context.database, context.known.name)
  return checkPreferenceUses(named, [...versions, ...stored.filter(({ key }) => same.has(key))])
}

/** Warnings about what was not looked at again still hold. */
function keptWarnings(
  known: KnownEnvironment,
  {
    plan,
    touched,
    settings,
  }: {
    readonly plan: Plan
    readonly touched: readonly WorkflowKey[]
    readonly settings: SettingsRead
  },
): readonly Diagnostic[] {
  if (settings.isNew) return []
  const same = new Set<string>(plan.same)
  for (const key of touched) same.delete(key)
  return known.diagnostics.filter(({ path, severity }) => {
    const [top, name = ''] = path.split('/')
    if (severity !== 'warning') return false
    return top === 'environments' || (top === 'workflows' && same.has(name))
  })
}
