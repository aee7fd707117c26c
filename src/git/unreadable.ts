import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { RetryableFailure } from '../errors.ts'
import { placeOf } from './location.ts'
import type { Location } from './location.ts'

/** Says which object of which repository cannot be read, why, and what to do; null where it is not there at all. */
export function unreadable(
  location: Location,
  id: string,
  { reason, advice }: { readonly reason: string | null; readonly advice?: string | undefined },
): RetryableFailure {
  const why = reason ?? 'it is not there'
  const what = advice ?? (reason === null ? adviceOnMissing(location) : BRING_BACK)
  return new RetryableFailure(
    `the object ${id} of the repository ${placeOf(location)} cannot be read (${why}): ${what}`,
  )
}

const BRING_BACK =
  '`git fsck` says there what else is damaged; bring it back from another clone, or clone anew'

/** Some clones leave objects out. */
function adviceOnMissing({ commonDir }: Location): string {
  if (existsSync(join(commonDir, 'shallow'))) {
    return 'this clone is shallow: run `git fetch --unshallow` first'
  }
  const isPartial = namesOf(join(commonDir, 'objects/pack')).some((name) =>
    name.endsWith('.promisor'),
  )
  return isPartial
    ? 'this clone is a partial one: use one that was made without --filter'
    : BRING_BACK
}

function namesOf(directory: string): readonly string[] {
  return existsSync(directory) ? readdirSync(directory) : []
}
