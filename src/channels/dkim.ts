import { buffer } from 'node:stream/consumers'
import DKIM from 'nodemailer/lib/dkim'
import { readPrivateKey } from './jwt.ts'
import { secretOr } from './secret.ts'

export interface DkimSettings {
  readonly domain: string
  readonly selector: string
  /** As PEM. */
  readonly private_key: string
}

/** What receivers take for a key at all. */
const KEY_BITS_MIN = 1_024

/** The setting by which mails are signed. */
export const dkimSchema = {
  description:
    '`domain`, `selector` and `private_key` (an RSA key as PEM): signs each mail, both headers for unsubscribing included.',
  type: 'object',
  additionalProperties: false,
  required: ['domain', 'selector', 'private_key'],
  properties: {
    domain: {
      description: 'The domain that signs, which is that of the sender.',
      type: 'string',
      pattern: '^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$',
    },
    selector: {
      description: 'The public key stands at `<selector>._domainkey.<domain>`.',
      type: 'string',
      pattern: '^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$',
    },
    private_key: secretOr({
      description: 'The private key, an RSA key as PEM.',
      type: 'string',
      minLength: 1,
      maxLength: 20_000,
    }),
  },
} as const

/** The mail with its signature in front; undefined where the key is none that can sign. */
export async function signMail(raw: Buffer, settings: DkimSettings): Promise<Buffer | undefined> {
  const key = readPrivateKey(settings.private_key)
  if (key?.asymmetricKeyType !== 'rsa') return undefined
  if ((key.asymmetricKeyDetails?.modulusLength ?? 0) < KEY_BITS_MIN) return undefined
  const signer = new DKIM({
    domainName: settings.domain,
    keySelector: settings.selector,
    privateKey: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
  })
  return await buffer(signer.sign(raw))
}
