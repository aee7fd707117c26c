/** A request that cannot be served as sent. The API turns it into `{code, message, status, type}`. */
export class RequestError extends Error {
  override readonly name = 'RequestError'
  readonly expose = true
  readonly code: string
  readonly status: number
  /** Further violations, one entry each, when there is more than one thing to mend. */
  readonly errors: readonly Violation[] | undefined

  constructor(status: number, code: string, message: string, errors?: readonly Violation[]) {
    super(message)
    this.status = status
    this.code = code
    this.errors = errors
  }
}

/** One violated rule of a request: a JSON Pointer to the value, and what is wrong with it. */
export interface Violation {
  readonly field: string
  readonly message: string
}

/** The program cannot start or go on as configured. The command line exits with 2. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

/** Work that failed and may succeed when tried again. */
export class RetryableFailure extends Error {
  override readonly name = 'RetryableFailure'
}

/** Work that will fail each time it is tried. */
export class TerminalFailure extends Error {
  override readonly name = 'TerminalFailure'
}

/** Marks the end of an exhaustive switch; reaching it is a fault of ours. */
export function unreachable(value: never): never {
  throw new Error(`unreachable: ${JSON.stringify(value)}`)
}

/** Throws a fault of ours unless `condition` holds. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`)
}

/** The text of anything thrown, for a log line or a reason. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  // A refused connection to several addresses has no message of its own.
  return error.message || ((error as { code?: string }).code ?? error.name)
}

/** Whether somebody outside must mend it, as its message says; only for what is ours the place in the code helps. */
export function isExpected(error: unknown): boolean {
  return (
    error instanceof RequestError ||
    error instanceof ConfigError ||
    error instanceof RetryableFailure ||
    error instanceof TerminalFailure ||
    (error instanceof Error && isFromOutside((error as { code?: unknown }).code))
  )
}

/** What the operating system and Postgres answer carries a code; so does what Node says of a wrong call. */
function isFromOutside(code: unknown): boolean {
  return typeof code === 'string' && !code.startsWith('ERR_INVALID_ARG')
}
