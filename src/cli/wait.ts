import { setTimeout as pause } from 'node:timers/promises'
import { ConfigError } from '../errors.ts'
import type { Reason } from '../reconcile/status.ts'
import { Refusal } from './client.ts'
import { COULD_NOT_RUN, FINE, FOUND, type ExitCode, type OptionValues } from './command.ts'
import type { Past } from './past.ts'
import type { WireEnvironment } from './wire.ts'

const POLL_MS = 250
const SECONDS = 60
const SECONDS_MAX = 3_600
const REVISION = /^[0-9a-f]{7,40}(\+[0-9a-f]*)?$/

/** Waiting on. */
export type Verdict = ExitCode | 'wait'

/**
 * What a reason means to whoever waits for a revision that is not live: it may still come (`comes`); it
 * was refused if it is the one that was read last (`judged`); or nothing comes before somebody acts (`ends`).
 */
const WITHOUT_REVISION: Readonly<Record<Reason, 'comes' | 'judged' | 'ends'>> = {
  applied: 'comes',
  pinned: 'ends',
  progressing: 'comes',
  retrying: 'comes',
  invalid_files: 'judged',
  prune_guard: 'judged',
  out_of_order: 'judged',
  history_rewritten: 'judged',
  unsigned: 'judged',
  undeclared: 'ends',
  unsupported_repository: 'ends',
  authentication: 'ends',
  repository_missing: 'ends',
  default_branch_changed: 'ends',
  drift: 'comes',
  suspended: 'ends',
  retired: 'ends',
  ref_missing: 'comes',
  soaking: 'comes',
}

/**
 * How a command ends that waits for an environment, or for a revision to be live in it. `past` says what has
 * taken the revision's place.
 */
export function judgeWait(
  { state, reason, observed_revision: observed, attempted_revision: attempted }: WireEnvironment,
  revision: string | undefined,
  past?: Past,
): Verdict {
  if (revision === undefined) return judgeLive(state)
  // A newer server may have reasons that are not known here.
  const meaning = WITHOUT_REVISION[reason as Reason] ?? 'comes'
  const wasRead = isOf(attempted, revision)
  if (isOf(observed, revision)) {
    // Where the one after it was refused, that is not asked for.
    return meaning === 'judged' && !wasRead ? FINE : judgeLive(state)
  }
  if (meaning === 'ends' || (meaning === 'judged' && wasRead)) return FOUND
  if (past === undefined) return 'wait'
  return past.wasApplied || past.into === observed ? FINE : FOUND
}

function judgeLive(state: string): Verdict {
  if (state === 'reconciling') return 'wait'
  return state === 'ready' ? FINE : FOUND
}

function isOf(revision: string | null, named: string): boolean {
  return revision?.startsWith(named) === true
}

/** How a command ends that waits for all environments; one may be suspended or wait for its branch. */
export function judgeAll(environments: readonly WireEnvironment[]): Verdict {
  if (environments.length === 0) return 'wait'
  if (environments.some(({ state }) => state === 'reconciling')) return 'wait'
  return environments.some(({ state }) => state === 'stalled') ? FOUND : FINE
}

export interface Waited<Answer> {
  readonly answer: Answer
  /** Of a time that was up: that the command could not do its work. */
  readonly code: ExitCode
  readonly isTimeUp: boolean
}

/**
 * Asks until the answer is decided, or the time is up; the last answer counts. A server that has answered
 * once may be away for a while; what it refuses in the first answer is thrown, unless `isPatient` bears it.
 */
export async function waitFor<Answer>(
  ask: () => Promise<Answer>,
  judge: (answer: Answer) => Verdict,
  {
    seconds = SECONDS,
    isPatient = () => false,
  }: { readonly seconds?: number; readonly isPatient?: (error: unknown) => boolean } = {},
): Promise<Waited<Answer>> {
  const end = performance.now() + seconds * 1_000
  const isOver = () => performance.now() >= end
  let answer: Answer | undefined
  // Away for a restart, or not there yet.
  const isBorne = (error: unknown) =>
    (answer !== undefined && error instanceof ConfigError) || isPatient(error)
  for (;;) {
    try {
      answer = await ask()
      const code = judge(answer)
      if (code !== 'wait') return { answer, code, isTimeUp: false }
    } catch (error) {
      if (!isBorne(error) || isOver()) throw error
    }
    if (answer !== undefined && isOver()) return { answer, code: COULD_NOT_RUN, isTimeUp: true }
    await pause(POLL_MS)
  }
}

/** An environment that a push has declared is not there before that was read. */
export function isNotThereYet(error: unknown): boolean {
  return error instanceof Refusal && error.code === 'environment_missing'
}

/** What was asked for in options. Throws a `ConfigError` where that makes no sense. */
export function readWait(options: OptionValues, name: string | undefined) {
  const [revision, timeout] = [options.text('revision'), options.text('timeout')]
  if (!options.flag('wait') && (revision ?? timeout) !== undefined) {
    throw new ConfigError('--revision and --timeout belong to --wait')
  }
  if (revision !== undefined && name === undefined) {
    throw new ConfigError(
      'say which environment: belfry status <name> --wait --revision <revision>',
    )
  }
  if (revision !== undefined && !REVISION.test(revision)) {
    throw new ConfigError(`"${revision}" is no revision: name at least 7 digits of a commit's id`)
  }
  const seconds = timeout === undefined ? SECONDS : Number(timeout)
  if (!(seconds > 0 && seconds <= SECONDS_MAX)) {
    throw new ConfigError(`--timeout takes seconds, ${SECONDS_MAX} at most`)
  }
  return { revision, seconds }
}
