import { TerminalFailure } from '../errors.ts'

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
