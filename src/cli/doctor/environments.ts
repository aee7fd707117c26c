import { providerList } from '../../channels/index.ts'
import type { Config } from '../../config.ts'
import type { Refs } from '../../git/refs.ts'
import type { CommitSource, RevisionTree, WorkingSource } from '../../git/source.ts'
import {
  findDefaultBranch,
  findEnvironmentFile,
  readDeclarations,
} from '../../reconcile/declarations.ts'
import { DEVELOPMENT } from '../../reconcile/declare.ts'
import type { Secrets } from '../../secrets.ts'
import type { Diagnostic } from '../../workflow/diagnostic.ts'
import { DEFAULT_POLICY, type Declaration } from '../../workflow/environment.ts'
import { parseEnvironment } from '../../workflow/environment-file.ts'
import { fine, warning, wrong, type About, type Finding } from './finding.ts'
import { checkProviders } from './providers.ts'
import { checkReports } from './reports.ts'

interface Sources {
  readonly repository: CommitSource
  readonly workingTree: WorkingSource | null
}

/** The settings of this place, and what masks all that is read by them. */
export interface Place {
  readonly config: Config
  readonly secrets: Secrets
}

interface Surroundings extends Sources, Place {
  readonly refs: Refs
}

/** What the default branch declares, and whether each environment has what it needs. */
export async function checkEnvironments(
  { config, secrets }: Place,
  sources: Sources,
  refs: Refs,
): Promise<readonly Finding[]> {
  const { repository, workingTree } = sources
  const bare = repository.location.workTree === null
  const choice = { explicit: config.defaultBranch ?? null, bare, recorded: null }
  const found = await findDefaultBranch(refs, choice)
  const surroundings = { ...sources, config, refs, secrets }
  const own = workingTree === null ? [] : [OF_THE_WORKING_TREE]
  if (found === null) {
    const message =
      'no default branch with a commit was found, which says what environments there are'
    const fix = 'Name it with --default-branch, or commit on main.'
    const missing = (own.length > 0 ? warning : wrong)('git', message, fix)
    return [missing, ...(await checkEach(surroundings, own))]
  }
  const branch = fine('git', `${found.branch} says what environments there are`)
  const tree = await repository.tree(found.tip)
  const declared = await readDeclarations(tree, providerList)
  if (declared.kind === 'invalid')
    return [branch, ...declared.diagnostics.map((one) => ofFile(one, found.branch))]
  const declarations = [
    ...declared.declarations.filter(({ name }) => own.length === 0 || name !== DEVELOPMENT),
    ...own,
  ]
  if (declarations.length > 0) return [branch, ...(await checkEach(surroundings, declarations))]
  const fix = `Add environments/<name>.yaml on ${found.branch}, or run "belfry init".`
  return [branch, warning('environments', 'none is declared', fix)]
}

/** In development mode it is there, whatever the default branch says. */
const OF_THE_WORKING_TREE: Declaration = {
  name: DEVELOPMENT,
  ref: DEVELOPMENT,
  policy: DEFAULT_POLICY,
}

async function checkEach(
  surroundings: Surroundings,
  declarations: readonly Declaration[],
): Promise<readonly Finding[]> {
  const each = declarations.map((one) => checkEnvironment(surroundings, one))
  return (await Promise.all(each)).flat()
}

async function checkEnvironment(
  surroundings: Surroundings,
  declaration: Declaration,
): Promise<readonly Finding[]> {
  const { name, ref } = declaration
  const { refs, repository, workingTree } = surroundings
  if (workingTree !== null && name === DEVELOPMENT) {
    const tree = await workingTree.look(refs.headRevision)
    const file = findEnvironmentFile(tree, name)
    const isBare = file.kind === 'absent'
    if (isBare) return [fine('environments', `${name} follows the working tree, without a file`)]
    return readEnvironment(surroundings, tree, { name, where: 'the working tree' })
  }
  const tip = await refs.tip(ref)
  if (tip === null) {
    const fix = `Create the branch, such as with "git branch ${ref}", and push it.`
    return [warning('environments', `${name} waits for the branch ${ref}, which is not there`, fix)]
  }
  return readEnvironment(surroundings, await repository.tree(tip), { name, where: ref })
}

/** What the file of an environment says where it is read from, and whether all of it can be had. */
async function readEnvironment(
  { config, secrets }: Surroundings,
  tree: RevisionTree,
  { name, where }: Pick<Declaration, 'name'> & { readonly where: string },
): Promise<readonly Finding[]> {
  const file = findEnvironmentFile(tree, name)
  if (file.kind !== 'found') return [ofFile(file.diagnostic, where)]
  const { path, blob } = file.entry
  const bytes = (await tree.read([blob])).get(blob) ?? new Uint8Array()
  const named = new Set<string>()
  const hasSecret = (secret: string) => {
    const isThere = secrets.find(name, secret) !== undefined
    if (isThere) named.add(secret)
    return isThere
  }
  const context = { providers: providerList, hasSecret }
  const parsed = parseEnvironment(name, path, { bytes, context })
  const there = [...named].toSorted().map((secret) => fine('secrets', `${name} has ${secret}`))
  if (parsed.kind === 'invalid')
    return [...there, ...parsed.diagnostics.map((one) => ofFile(one, where))]
  const { channels } = parsed.settings
  const read = (secret: string) => secrets.find(name, secret) ?? ''
  return [
    fine('environments', `${name} follows ${where}; its file is valid`),
    ...there,
    ...(await checkProviders(config, name, { channels: Object.values(channels), read })),
    ...checkReports(config, name, Object.values(channels)),
  ]
}

const ABOUT: Readonly<Record<string, About>> = {
  missing_secret: 'secrets',
  unknown_provider: 'providers',
}

function ofFile({ path, line, column, code, message, hint }: Diagnostic, where: string): Finding {
  const about = ABOUT[code] ?? 'environments'
  const text = `${where}: ${path}:${line}:${column} ${message}`
  return wrong(about, text, hint ?? 'Correct the file and commit.')
}
