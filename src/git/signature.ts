import type { Commit } from './history.ts'
import { verifyOpenPgp } from './signature-openpgp.ts'
import { verifySsh } from './signature-ssh.ts'
import type { Signers } from './signature-signers.ts'
import { bad } from './signature-verdict.ts'
import type { Verdict } from './signature-verdict.ts'

/** A commit object taken apart. */
export interface SignedBytes {
  /** What was signed: the object without its signatures. */
  readonly payload: Buffer
  /** As it stands in the object, without the indentation; null where there is none. */
  readonly signature: string | null
}

const LINE_BREAK = 0x0a
const SPACE = 0x20

/** Takes the signature out of the raw bytes of a commit, byte for byte as `git verify-commit` does. */
export function splitSignature(bytes: Uint8Array): SignedBytes {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const payload: Buffer[] = []
  const signature: Buffer[] = []
  let within: 'signature' | 'other' | 'none' = 'none'
  for (let at = 0; at < buffer.length;) {
    const end = buffer.indexOf(LINE_BREAK, at)
    const next = end < 0 ? buffer.length : end + 1
    const line = buffer.subarray(at, next)
    if (line[0] === LINE_BREAK) {
      // The message may hold lines that look like headers.
      payload.push(buffer.subarray(at))
      break
    }
    const isContinued = line[0] === SPACE && within !== 'none'
    if (!isContinued) within = kindOf(line)
    if (within === 'none') payload.push(line)
    if (within === 'signature') {
      signature.push(isContinued ? line.subarray(1) : line.subarray(HEADER.length))
    }
    at = next
  }
  const text = Buffer.concat(signature).toString('latin1')
  return { payload: Buffer.concat(payload), signature: signature.length === 0 ? null : text }
}

const HEADER = 'gpgsig '

/** Git signs over no header whose name begins so, whichever algorithm of object ids it is for. */
function kindOf(line: Buffer): 'signature' | 'other' | 'none' {
  const start = line.toString('latin1', 0, HEADER.length)
  if (start === HEADER) return 'signature'
  return start.startsWith('gpgsig') ? 'other' : 'none'
}

/** Whether one of the signers has signed this commit, and if not, why not. */
export async function verifyCommit(commit: Commit, signers: Signers): Promise<Verdict> {
  const { payload, signature } = splitSignature(commit.bytes)
  if (signature === null) return bad('unsigned', 'it has no signature')
  if (signature.startsWith('-----BEGIN SSH SIGNATURE-----')) {
    return verifySsh({ payload, signature, at: commit.committedAt }, signers.ssh)
  }
  if (/^-----BEGIN PGP (?:SIGNATURE|MESSAGE)-----/.test(signature)) {
    return verifyOpenPgp({ payload, signature }, signers.openPgp)
  }
  return bad('unsupported', 'its signature is neither of SSH nor of OpenPGP')
}

/** Who a commit says has written it, as `Name <address>`; it proves nothing. */
export function authorOf(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const end = buffer.indexOf('\n\n')
  const headers = buffer.toString('utf8', 0, end < 0 ? buffer.length : end + 1)
  return /^author (.*?)(?: -?\d+ [+-]\d+)?$/m.exec(headers)?.[1] ?? 'nobody'
}
