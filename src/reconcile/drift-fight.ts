/** Something in our own tables that is not what the applied revision says. */
export interface Finding {
  readonly what: 'environment' | 'workflow' | 'version'
  /** The name of the environment, the key of the workflow, the id of the version. */
  readonly key: string
  /** The columns that differ; or `added` and `missing`, for a row. */
  readonly fields: readonly string[]
}

/** What came of drift: nothing is written to a suspended environment, nor while somebody fights the repair. */
export type DriftOutcome = 'repaired' | 'suspended' | 'fought' | 'unrepairable'

/** The newest drift of an environment. Times are ISO 8601. */
export interface Drift {
  readonly foundAt: string
  /** `gone`: what was not repaired is right again, by whatever hand. */
  readonly outcome: DriftOutcome | 'gone'
  /** How many were found; `found` holds the first of them. */
  readonly count: number
  readonly found: readonly Finding[]
  /** When it was repaired within the last minute. */
  readonly repairs: readonly string[]
  /** How often repair was paused since the last quiet time. */
  readonly pauses: number
  readonly pausedUntil: string | null
}

/** So many repairs within a minute are a fight with whoever writes these rows. */
export const REPAIRS_MAX = 5
const REPAIRS_WITHIN_MS = 60_000
const PAUSE_MS_MIN = 60_000
const PAUSE_MS_MAX = 15 * 60_000
/** After that long without drift, the next one is no part of an old fight. */
const QUIET_MS = 10 * 60_000
/** Findings that are kept with the environment. */
export const FOUND_MAX = 20
/** How long a repair is shown as a warning. */
export const SHOWN_MS = 3_600_000

export interface DriftFound {
  readonly found: readonly Finding[]
  readonly isSuspended: boolean
  /** Somebody asked for a look: then a pause ends. */
  readonly isAsked: boolean
  readonly now: Date
}

/** What is to be done about drift that was found: to repair it, or not to. */
export function judgeDrift(known: Drift | null, at: DriftFound): Exclude<Drift['outcome'], 'gone'> {
  if (at.isSuspended) return 'suspended'
  if (known === null || at.isAsked) return 'repaired'
  if (isPaused(known, at.now)) return 'fought'
  // Who has been fought before gets one more try after each pause.
  const limit = pausesBefore(known, at.now) > 0 ? 1 : REPAIRS_MAX
  return recent(known, at.now).length >= limit ? 'fought' : 'repaired'
}

/** The drift to remember after that. */
export function noteDrift(
  known: Drift | null,
  outcome: DriftOutcome,
  { found, isAsked, now }: DriftFound,
): Drift {
  const before = known === null || isAsked ? [] : recent(known, now)
  const pauses = known === null || isAsked ? 0 : pausesBefore(known, now)
  const base = {
    foundAt: now.toISOString(),
    outcome,
    count: found.length,
    found: found.slice(0, FOUND_MAX),
    repairs: outcome === 'repaired' ? [...before, now.toISOString()] : before,
  }
  if (outcome !== 'fought') return { ...base, pauses, pausedUntil: null }
  if (known && isPaused(known, now)) return { ...known, ...base, foundAt: known.foundAt }
  const pauseMs = Math.min(PAUSE_MS_MIN * 2 ** pauses, PAUSE_MS_MAX)
  const pausedUntil = new Date(now.getTime() + pauseMs).toISOString()
  return { ...base, pauses: pauses + 1, pausedUntil }
}

/** Whether the drift still waits for a person. */
export function isOpen({ outcome }: Pick<Drift, 'outcome'>): boolean {
  return outcome === 'fought' || outcome === 'unrepairable'
}

/** Whether the drift is still to be shown: one that is over is, for an hour. */
export function isShown({ outcome, foundAt }: Drift, now: Date): boolean {
  if (outcome !== 'repaired' && outcome !== 'gone') return true
  return now.getTime() - Date.parse(foundAt) < SHOWN_MS
}

function isPaused({ pausedUntil }: Drift, now: Date): boolean {
  return pausedUntil !== null && now < new Date(pausedUntil)
}

function recent({ repairs }: Drift, now: Date): readonly string[] {
  return repairs.filter((at) => now.getTime() - Date.parse(at) <= REPAIRS_WITHIN_MS)
}

/** A pause that has ended longer ago than a quiet time is forgotten. */
function pausesBefore({ pauses, foundAt, pausedUntil }: Drift, now: Date): number {
  const last = Math.max(Date.parse(foundAt), pausedUntil === null ? 0 : Date.parse(pausedUntil))
  return now.getTime() - last > QUIET_MS ? 0 : pauses
}
