/** Why a signature does not count. */
export type Fault =
  | 'unsigned'
  | 'unsupported'
  | 'malformed'
  | 'unknown_key'
  | 'expired_key'
  | 'wrong_namespace'
  | 'tampered'

/** What a signature is worth. */
export type Verdict =
  /** `signer` is how the list of signers names who it was. */
  | { readonly kind: 'good'; readonly signer: string }
  | { readonly kind: 'bad'; readonly fault: Fault; readonly message: string }

/** A verdict against a signature. */
export function bad(fault: Fault, message: string): Verdict {
  return { kind: 'bad', fault, message }
}
