/** Why the forge did not do what it was asked. */
export type ForgeFailureKind =
  /** It asks to be left alone for a while. */
  | 'limited'
  /** It could not be reached, or is in trouble itself. */
  | 'unavailable'
  /** The token is wrong, or may not do this. */
  | 'denied'
  /** It will never do this. */
  | 'refused'

export interface ForgeFailureOptions {
  /** The status of its answer; absent where there was none. */
  readonly status?: number | undefined
  /** How long it asks to be left alone, in milliseconds. */
  readonly retryMs?: number | undefined
}

/** A call to the forge that failed. The message holds no token. */
export class ForgeFailure extends Error {
  override readonly name = 'ForgeFailure'
  readonly kind: ForgeFailureKind
  readonly status: number | undefined
  readonly retryMs: number | undefined

  constructor(kind: ForgeFailureKind, message: string, options: ForgeFailureOptions = {}) {
    super(message)
    this.kind = kind
    this.status = options.status
    this.retryMs = options.retryMs
  }
}
