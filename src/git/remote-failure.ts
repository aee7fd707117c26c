import { messageOf, RetryableFailure, TerminalFailure } from '../errors.ts'
import { UnsupportedRepository } from './location.ts'

/** The remote refuses the credentials, or asks for some. Someone has to set others. */
export class AuthenticationFailure extends TerminalFailure {
  readonly code = 'authentication'
}

/** The remote answers, and has no repository at the address. Someone has to correct one of both. */
export class MissingRepository extends TerminalFailure {
  readonly code = 'repository_missing'
}

/** The source was closed while it was asked. What it would have answered is unknown. */
export class SourceClosed extends Error {
  override readonly name = 'SourceClosed'
}

/** What somebody reads who is told of a failure: which remote, and where its mirror is. */
interface Named {
  readonly url: string
  readonly mirror: string
}

/** Names the remote, and the mirror of what fails on this machine and not there; for what does not yet. */
export function named({ url, mirror }: Named, error: unknown): unknown {
  if (!(error instanceof Error)) return error
  // What the remote did wrong has a message already, and no system call.
  if ('syscall' in error) {
    const advice = 'see that its disk has room and that it may be written, or set BELFRY_DATA_DIR'
    const text = `${url}: the mirror in ${mirror} cannot be used (${messageOf(error)}): ${advice}`
    return new RetryableFailure(text, { cause: error })
  }
  return namingRemote(url, error)
}

/** Names the remote in what is said of it. The address has no credentials. */
export function namingRemote(url: string, error: unknown): unknown {
  if (!(error instanceof Error) || error.message.includes(url)) return error
  const text = `${url}: ${error.message}`
  if (error instanceof UnsupportedRepository) return new UnsupportedRepository(text)
  return error instanceof RetryableFailure ? new RetryableFailure(text) : error
}
