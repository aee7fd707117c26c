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
  return error instanceof Error ? error.message : String(error)
}
