import type { Clock } from '../clock.ts'
import type { Database } from '../db/database.ts'
import type { Forge, OpenPull, StatusState } from '../forges/forge.ts'
import type { EnvironmentName, Revision } from '../ids.ts'
import { contextOf, descriptionOf, isCommit } from './outbox.ts'
import type { Announcing } from './outbox.ts'
import { saveStatuses } from './outbox-store.ts'
import {
  findLeftPlan,
  listFollowers,
  listUnplannedPulls,
  saveClosedPulls,
  saveOpenPull,
  savePlanned,
} from './pull-store.ts'
import type { Follower, KnownPull } from './pull-store.ts'

/** What merging would change, for one environment that follows the base. */
export interface PullPlan {
  readonly state: Exclude<StatusState, 'pending'>
  /** One line, of which what fits is shown. */
  readonly summary: string
  readonly markdown: string
}

/** Which plan is asked for. */
export interface PullPlanRequest {
  readonly number: number
  readonly environment: EnvironmentName
  readonly base: Revision
  readonly head: Revision
}

/** What looking at pull requests needs. */
export interface Pulls {
  readonly database: Database
  readonly clock: Clock
  readonly forge: Forge
  /** Which forge and repository. */
  readonly place: string
  readonly announcing: Announcing
  /** The tip of a branch; null where it is not there. */
  readonly tip: (branch: string) => Promise<Revision | null>
  /** Undefined while the plan is being made; to be asked again. */
  readonly plan: (request: PullPlanRequest) => Promise<PullPlan | undefined>
}

/** The shortest bound of all forges, less what stands around the plans. */
const MARKDOWN_LENGTH_MAX = 60_000
const PLANNING = 'What merging would change is being worked out.'
/** Should the pull request come back to it, it is planned anew. */
const LEFT = 'The pull request has moved on from here, and its plan does not hold any more.'

/**
 * Looks which pull requests are open against a branch that an environment follows; answers how many of them are
 * new, or have moved. Which ones are open is the forge's to say: a base also moves because one was merged.
 */
export async function lookAtPulls(pulls: Pulls): Promise<number> {
  const { database, clock, forge, announcing } = pulls
  const followers = await listByBranch(pulls)
  const open = (await forge.listOpenPulls()).filter(
    ({ base, headSha }) => followers.has(base) && isCommit(headSha),
  )
  let moved = 0
  for (const pull of open) {
    if (await notePull(pulls, pull, followers)) moved += 1
  }
  await saveClosedPulls(database, commentsOf(pulls), {
    open: open.map(({ number }) => number),
    body: closedBody(announcing),
    now: clock.now(),
  })
  return moved
}

/** Plans the pull requests whose tips have moved; answers how many of them have a plan now. */
export async function planPulls(pulls: Pulls): Promise<number> {
  const unplanned = await listUnplannedPulls(pulls.database, commentsOf(pulls))
  if (unplanned.length === 0) return 0
  const followers = await listByBranch(pulls)
  let planned = 0
  for (const pull of unplanned) {
    if (await planPull(pulls, pull, followers.get(pull.base) ?? [])) planned += 1
  }
  return planned
}

async function listByBranch({ database }: Pulls): Promise<ReadonlyMap<string, Follower[]>> {
  return Map.groupBy(await listFollowers(database), ({ gitRef }) => gitRef)
}

/** Whose comments are told apart: those of each instance, on each repository. */
export function commentsOf({ place, announcing }: Pick<Pulls, 'place' | 'announcing'>): string {
  return `${place} ${announcing.instance}`
}

/** Notes a pull request; where a tip has moved, the plan before is void, and its status says so. */
async function notePull(
  pulls: Pulls,
  { number, base, headSha }: OpenPull,
  followers: ReadonlyMap<string, Follower[]>,
): Promise<boolean> {
  const { database, clock, announcing } = pulls
  const baseRevision = await pulls.tip(base)
  if (baseRevision === null) return false
  const headRevision = headSha as Revision
  return database.transaction(async (tx) => {
    const now = clock.now()
    const pull = { number, base, baseRevision, headRevision }
    const left = await findLeftPlan(tx, commentsOf(pulls), pull)
    if (!(await saveOpenPull(tx, commentsOf(pulls), { ...pull, now }))) return false
    const parts = [
      ...(left ? [{ ...left, description: LEFT }] : []),
      { base, headRevision, description: PLANNING },
    ]
    for (const { base: gitRef, headRevision: sha, description } of parts) {
      for (const { environment } of followers.get(gitRef) ?? []) {
        const context = contextOf(announcing, environment, 'plan')
        const said = { context, state: 'pending', description, restarts: true } as const
        await saveStatuses(tx, { environment, sha, gitRef, now }, [said])
      }
    }
    return true
  })
}

/** Answers false where a plan is still being made, or is void already. */
async function planPull(
  pulls: Pulls,
  pull: KnownPull,
  followers: readonly Follower[],
): Promise<boolean> {
  const { database, clock, announcing } = pulls
  const plans: (PullPlan & Follower)[] = []
  for (const follower of followers) {
    const { number, baseRevision: base, headRevision: head } = pull
    const plan = await pulls.plan({ number, environment: follower.environment, base, head })
    if (!plan) return false
    plans.push({ ...plan, ...follower })
  }
  const body = planBody(announcing, plans)
  return database.transaction(async (tx) => {
    const now = clock.now()
    if (!(await savePlanned(tx, commentsOf(pulls), { ...pull, body, now }))) return false
    const { base: gitRef, headRevision: sha } = pull
    for (const { environment, state, summary } of plans) {
      const context = contextOf(announcing, environment, 'plan')
      const said = { context, state, description: descriptionOf(summary), restarts: true }
      await saveStatuses(tx, { environment, sha, gitRef, now }, [said])
    }
    return true
  })
}

/** The hidden first line by which an instance finds its own comment. */
export function markerOf({ instance }: Announcing): string {
  return `<!-- belfry:plan ${instance} -->`
}

/** Each plan says which environment and tips it is of. */
function planBody(announcing: Announcing, plans: readonly PullPlan[]): string {
  const each = Math.floor(MARKDOWN_LENGTH_MAX / Math.max(plans.length, 1))
  const parts = plans.map(({ markdown }) => cut(markdown.trim(), each))
  return storable([markerOf(announcing), ...parts].join('\n\n'))
}

function closedBody(announcing: Announcing): string {
  const note = 'The pull request is closed, and its plan does not hold any more.'
  return `${markerOf(announcing)}\n\n<sub>${note}</sub>`
}

/** Ends at a line, so that no table row is left half. */
function cut(markdown: string, lengthMax: number): string {
  if (markdown.length <= lengthMax) return markdown
  const end = markdown.lastIndexOf('\n', lengthMax)
  return `${markdown.slice(0, end < 0 ? lengthMax : end)}\n\n… and more than fits here.`
}

function storable(text: string): string {
  return text.replaceAll('\0', '\uFFFD').toWellFormed()
}
