import { isKey } from '../ids.ts'
import type { EnvironmentName, Revision } from '../ids.ts'
import type { Diagnostic } from '../workflow/diagnostic.ts'
import { DEFAULT_POLICY } from '../workflow/environment.ts'
import type { Declaration } from '../workflow/environment.ts'
import { readDeclarations } from './declarations.ts'
import type { Declarations, DefaultTip } from './declarations.ts'
import { assertLead, LeadershipLost, loadDefaultBranch, saveDefaultBranch } from './leader-store.ts'
import type { DefaultBranch } from './leader-store.ts'
import { reviveDeclared } from './retirement.ts'
import type { Looking } from './settle.ts'
import { isAbout, withDeclarationProblems } from './settle.ts'
import { declaredFirst, invalidFiles } from './status.ts'
import {
  listKnownEnvironments,
  saveBrokenDeclaration,
  saveDeclarations,
  saveUndeclared,
} from './store.ts'

/** The environment that follows the working tree in development. */
export const DEVELOPMENT = 'development' as EnvironmentName

const UNDECLARED_DEVELOPMENT: Declaration = {
  name: DEVELOPMENT,
  ref: DEVELOPMENT,
  policy: DEFAULT_POLICY,
}

/**
 * Takes over which environments exist, and which branches they follow, from the default branch.
 * What is broken or cannot be read leaves the known set as it is. Answers whether reading failed.
 */
export async function takeDeclarations(looking: Looking, tip: DefaultTip | null): Promise<boolean> {
  if (tip === null) {
    await declareDevelopment(looking)
    return false
  }
  try {
    await takeFrom(looking, tip)
    return false
  } catch (error) {
    if (error instanceof LeadershipLost) throw error
    looking.log.warn('the declarations of environments cannot be read', { error })
    await declareDevelopment(looking)
    return true
  }
}

async function takeFrom(looking: Looking, { branch, tip }: DefaultTip): Promise<void> {
  const { database, memory, repository } = looking
  const tree = await repository.tree(tip)
  const stored = await loadDefaultBranch(database)
  const declaredTree = markOf(looking, tree.environmentsTree)
  if (stored.branch === branch && stored.declaredTree === declaredTree) {
    memory.declarationProblems = []
    return
  }
  const found = await readDeclarations(tree, looking.providers)
  if (found.kind === 'declared') {
    memory.declarationProblems = []
    await save(looking, found.declarations, { branch, declaredTree, tip })
    return
  }
  await keepKnown(looking, found, { branch, declaredTree: stored.declaredTree })
}

/** Another mode declares another set, so what was taken over is remembered with the mode. */
function markOf({ workingTree }: Looking, environmentsTree: string | null): string {
  return `${environmentsTree ?? 'none'}${workingTree === null ? '' : ' and development'}`
}

async function save(
  looking: Looking,
  declarations: readonly Declaration[],
  taken: DefaultBranch & { readonly tip: Revision },
): Promise<void> {
  const { database, leadership, clock } = looking
  const all = withDevelopment(looking, declarations)
  await database.transaction(async (tx) => {
    await assertLead(tx, leadership)
    const now = clock.now()
    await saveDeclarations(tx, all, { ...taken, status: declaredFirst(), revision: taken.tip, now })
    await reviveDeclared(tx, namesOf(all), now)
    await saveUndeclared(tx, namesOf(all), now)
    await saveDefaultBranch(tx, taken)
  })
}

function namesOf(declarations: readonly Declaration[]): readonly EnvironmentName[] {
  return declarations.map(({ name }) => name)
}

function withDevelopment(
  { workingTree }: Looking,
  declarations: readonly Declaration[],
): readonly Declaration[] {
  if (workingTree === null || declarations.some(({ name }) => name === DEVELOPMENT)) {
    return declarations
  }
  return [...declarations, UNDECLARED_DEVELOPMENT]
}

/** In development there is always the environment of that name, whatever a commit says. */
async function declareDevelopment(looking: Looking): Promise<void> {
  const { database, leadership, clock, workingTree } = looking
  if (workingTree === null) return
  const known = await listKnownEnvironments(database)
  if (known.some(({ name, declared }) => name === DEVELOPMENT && declared)) return
  await database.transaction(async (tx) => {
    await assertLead(tx, leadership)
    const now = clock.now()
    const declaring = { status: declaredFirst(), branch: null, revision: null, now }
    await saveDeclarations(tx, [UNDECLARED_DEVELOPMENT], declaring)
    await reviveDeclared(tx, [DEVELOPMENT], now)
  })
}

/** Shows what is wrong at the environments concerned, those included that are not known yet. */
async function keepKnown(
  looking: Looking,
  { diagnostics, names }: Extract<Declarations, { kind: 'invalid' }>,
  taken: DefaultBranch,
): Promise<void> {
  const { database, leadership, log, memory } = looking
  if (JSON.stringify(diagnostics) !== JSON.stringify(memory.declarationProblems)) {
    log.warn('the declarations of environments have problems; the known ones still hold', {
      branch: taken.branch,
      problems: diagnostics.map(({ path, line, message }) => `${path}:${line} ${message}`),
    })
  }
  memory.declarationProblems = diagnostics
  await declareDevelopment(looking)
  await database.transaction(async (tx) => {
    await assertLead(tx, leadership)
    await saveDefaultBranch(tx, taken)
    for (const name of names.filter(isKey)) {
      const environment = name as EnvironmentName
      const broken = brokenLook(looking, environment, diagnostics)
      await saveBrokenDeclaration(tx, environment, broken)
    }
  })
}

/** Its own file's problems are the errors; what is wrong beside it is told as to any other. */
function brokenLook({ memory, clock }: Looking, name: EnvironmentName, all: readonly Diagnostic[]) {
  const own = all.filter((diagnostic) => isAbout(diagnostic, name))
  const declarationProblems = all.filter((diagnostic) => !isAbout(diagnostic, name))
  const problems = { ...memory, declarationProblems }
  const diagnostics = withDeclarationProblems(problems, { name }, own)
  return { status: invalidFiles(null, own, null), diagnostics, now: clock.now() }
}
