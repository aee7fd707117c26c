import type { Revision } from '../ids.ts'
import type { Looking } from './settle.ts'

/** The branch has moved on while a revision of it was read. What was read of it is not used. */
export class Superseded extends Error {
  override readonly name = 'Superseded'
}

/** A revision under way, as long as it is its branch's tip. */
export interface Tip extends Disposable {
  /** Aborted with a `Superseded` when the branch has moved on. */
  readonly signal: AbortSignal
  /** What `work` comes to, or a `Superseded` as soon as the branch has moved on. */
  race<Result>(work: Promise<Result>): Promise<Result>
}

/** Follows a branch while a revision of it is read; a branch of null does not move. */
export function followTip(
  { repository, onNews }: Pick<Looking, 'repository' | 'onNews'>,
  branch: string | null,
  revision: Revision | null,
): Tip {
  const moved = new AbortController()
  const { signal } = moved
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
  // It may happen while nobody waits for anything.
  aborted.catch(() => {})
  const check = async () => {
    if (branch === null) return
    const refs = await repository.refs()
    if ((await refs.tip(branch)) !== revision) moved.abort(new Superseded(`${branch} has moved on`))
  }
  // Where refs cannot be read the look goes on, and finds that out itself.
  const stop = onNews(() => void check().catch(() => {}))
  return {
    signal,
    race: (work) => Promise.race([work, aborted]),
    [Symbol.dispose]: stop,
  }
}
