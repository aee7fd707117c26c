import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { ConfigError } from '../errors.ts'
import type { Repository } from '../git/repository.ts'
import type { Revision } from '../ids.ts'
import type { PromotionPlan } from '../reconcile/promotion.ts'
import { ALLOW_PRUNE } from '../reconcile/status.ts'

export interface MergeOptions {
  /** Moves the branch without a merge commit where that is possible. */
  readonly isFastForward: boolean
  readonly isPushed: boolean
  readonly isPruneAllowed: boolean
  readonly message: string | undefined
}

export type Made =
  | { readonly kind: 'made'; readonly revision: Revision; readonly isPushed: boolean }
  | { readonly kind: 'refused'; readonly why: string }

const run = promisify(execFile)
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024
const ABSENT = '0'.repeat(40)

/**
 * Does the merge that a plan is about, with the `git` of this machine: in a work tree of its own, so
 * that no checkout and no index is touched, and then moves the branch if it is still where the plan
 * found it. Throws a `ConfigError` where `git` cannot do its work.
 */
export async function mergePromotion(
  repository: Repository,
  plan: PromotionPlan,
  options: MergeOptions,
): Promise<Made> {
  const { base } = plan
  const place = repository.location.workTree ?? repository.location.gitDir
  const git = (...args: readonly string[]) => runGit(place, args)
  const ref = `refs/heads/${base.ref}`
  const moved = await findMoved(repository, plan)
  if (moved !== undefined) return refuse(moved)
  const holder = await findCheckout(git, ref)
  if (holder !== undefined) {
    return refuse(`${base.ref} is checked out in ${holder}: switch to another branch there first`)
  }
  if (options.isPushed && !(await hasOrigin(git)))
    return refuse('there is no remote "origin" to push to')
  const merged = await mergeApart(git, plan, options)
  if (merged.kind === 'refused') return merged
  if (options.isPushed) {
    const pushed = await attempt(git('push', '--quiet', 'origin', `${merged.revision}:${ref}`))
    if (pushed !== undefined) return refuse(`origin does not take the merge: ${pushed}`)
  }
  const local = await attempt(git('rev-parse', '--verify', '--quiet', ref))
  const before = local === undefined ? base.revision : ABSENT
  const failure = await attempt(
    git('update-ref', '-m', `belfry promote ${plan.head.name}`, ref, merged.revision, before),
  )
  if (failure !== undefined) {
    const also = options.isPushed ? '; origin has the merge' : ''
    return refuse(`${base.ref} has moved meanwhile, and stays as it is${also}`)
  }
  return { kind: 'made', revision: merged.revision, isPushed: options.isPushed }
}

type Git = (...args: readonly string[]) => Promise<string>

function refuse(why: string): Extract<Made, { kind: 'refused' }> {
  return { kind: 'refused', why }
}

/** What the plan is bound to and is not there any more. */
async function findMoved(repository: Repository, plan: PromotionPlan): Promise<string | undefined> {
  const refs = await repository.refs()
  for (const { ref, revision } of [plan.base, plan.head]) {
    if (ref !== null && (await refs.tip(ref)) !== revision) {
      return `${ref} has moved since the plan was made: look at a new one`
    }
  }
  return undefined
}

/** The work tree in which a branch is checked out: moving it there would make its files look changed. */
async function findCheckout(git: Git, ref: string): Promise<string | undefined> {
  const list = await git('worktree', 'list', '--porcelain')
  for (const entry of list.split('\n\n')) {
    const lines = entry.split('\n')
    if (lines.includes('bare') || !lines.includes(`branch ${ref}`)) continue
    return lines.find((line) => line.startsWith('worktree '))?.slice('worktree '.length)
  }
  return undefined
}

async function hasOrigin(git: Git): Promise<boolean> {
  return (await git('remote')).split('\n').includes('origin')
}

async function mergeApart(
  git: Git,
  plan: PromotionPlan,
  { isFastForward, isPruneAllowed, message }: MergeOptions,
): Promise<
  { readonly kind: 'merged'; readonly revision: Revision } | Extract<Made, { kind: 'refused' }>
> {
  const { base, head, relation, result_tree: expected } = plan
  if (isFastForward && relation === 'fast_forward')
    return { kind: 'merged', revision: head.revision }
  const parent = await mkdtemp(join(tmpdir(), 'belfry-promote-'))
  const tree = join(parent, 'tree')
  try {
    await git('worktree', 'add', '--quiet', '--detach', tree, base.revision)
    const apart = (...args: readonly string[]) => runGit(tree, args)
    const paragraphs = [
      message ?? `Promote ${head.name} to ${base.name}`,
      ...(isPruneAllowed ? [`${ALLOW_PRUNE}: true`] : []),
    ].flatMap((text) => ['-m', text])
    const failure = await attempt(
      apart('merge', '--quiet', '--no-ff', '--no-edit', ...paragraphs, head.revision),
    )
    if (failure !== undefined) return refuse(`git did not merge: ${failure}`)
    const revision = (await apart('rev-parse', 'HEAD')) as Revision
    const result = await apart('rev-parse', '--verify', '--quiet', 'HEAD:workflows').catch(
      () => null,
    )
    if (expected !== null && result !== null && result !== expected) {
      return refuse('git merges workflows/ to something else than the plan says')
    }
    return { kind: 'merged', revision }
  } finally {
    await git('worktree', 'remove', '--force', tree).catch(() => '')
    await rm(parent, { recursive: true, force: true })
  }
}

/** What went wrong; undefined where nothing did. */
async function attempt(work: Promise<string>): Promise<string | undefined> {
  return work.then(
    () => undefined,
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  )
}

async function runGit(directory: string, args: readonly string[]): Promise<string> {
  try {
    const { stdout } = await run('git', [...args], { cwd: directory, maxBuffer: OUTPUT_BYTES_MAX })
    return stdout.trim()
  } catch (error) {
    const { code, stderr, stdout } = error as { code?: unknown; stderr?: string; stdout?: string }
    if (code === 'ENOENT')
      throw new ConfigError('git is not installed here, and promote merges with it')
    const said = [stderr, stdout].map((text) => text?.trim() ?? '').find((text) => text !== '')
    throw new ConfigError(`git ${args[0]}: ${said ?? 'failed without a word'}`)
  }
}
