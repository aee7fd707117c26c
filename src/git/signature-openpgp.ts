import type { Key, Signature, SignaturePacket } from 'openpgp'
import { messageOf } from '../errors.ts'
import { bad } from './signature-verdict.ts'
import type { Verdict } from './signature-verdict.ts'

/** What was signed, and the signature in armor. */
export interface OpenPgpSigned {
  readonly payload: Buffer
  readonly signature: string
}

/**
 * Checks a detached OpenPGP signature against public keys in armor. A key has to be valid when the
 * signature was made.
 */
export async function verifyOpenPgp(
  { payload, signature: armored }: OpenPgpSigned,
  keyrings: readonly string[],
): Promise<Verdict> {
  // It is large, and most processes never see such a signature.
  const { createMessage, readKeys, readSignature, verify } = await import('openpgp')
  let signature: Signature
  try {
    signature = await readSignature({ armoredSignature: armored })
  } catch {
    return bad('malformed', 'its OpenPGP signature is broken')
  }
  const [packet, second] = signature.packets
  if (!packet || second) return bad('malformed', 'it has not one OpenPGP signature, but several')
  const keys: Key[] = []
  for (const armoredKeys of keyrings) keys.push(...(await readKeys({ armoredKeys })))
  const signer = keys.find((key) => key.getKeys(packet.issuerKeyID).length > 0)
  const id = packet.issuerKeyID.toHex().toUpperCase()
  if (!signer) return bad('unknown_key', `the OpenPGP key ${id} is none of the allowed signers`)
  const madeAt = packet.created ?? undefined
  const message = await createMessage({ binary: payload })
  const checked = await verify({
    message,
    signature,
    verificationKeys: keys,
    ...(madeAt && { date: madeAt }),
  })
  try {
    await checked.signatures[0]?.verified
    return { kind: 'good', signer: nameOf(signer) }
  } catch (error) {
    return judge(error, { packet, signer, id })
  }
}

function judge(
  error: unknown,
  {
    packet,
    signer,
    id,
  }: { readonly packet: SignaturePacket; readonly signer: Key; readonly id: string },
): Verdict {
  const cause = messageOf(error)
  if (/digest did not match|signature verification failed/i.test(cause)) {
    return bad('tampered', 'its signature is not over what the commit says')
  }
  if (/expired|newer than|revoked|not valid|in the future/i.test(cause)) {
    const when = packet.created?.toISOString() ?? 'that time'
    return bad('expired_key', `the OpenPGP key ${id} of ${nameOf(signer)} was not valid at ${when}`)
  }
  return bad('malformed', `its OpenPGP signature does not count: ${cause}`)
}

/** The user whose key it is, or the key's id where it names none. */
function nameOf(key: Key): string {
  return key.getUserIDs()[0] ?? key.getKeyID().toHex().toUpperCase()
}

/** Throws where a text does not hold readable public keys. */
export async function checkKeys(armoredKeys: string): Promise<void> {
  const { readKeys } = await import('openpgp')
  await readKeys({ armoredKeys })
}
