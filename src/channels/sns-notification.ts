import { verify, X509Certificate } from 'node:crypto'
import { RequestError } from '../errors.ts'
import { isRecent } from '../proof.ts'
import { pick } from './api.ts'
import type { Door } from './door.ts'
import { MALFORMED, parseJson, refusedCall, REPEATED_MS_MAX } from './report.ts'
import type { Received, Report, WebhookCall, WebhookContext } from './report.ts'

/** What is signed of each type, in this order. */
const SIGNED: Readonly<Record<string, readonly string[]>> = {
  Notification: ['Message', 'MessageId', 'Subject', 'Timestamp', 'TopicArn', 'Type'],
  SubscriptionConfirmation: [
    'Message',
    'MessageId',
    'SubscribeURL',
    'Timestamp',
    'Token',
    'TopicArn',
    'Type',
  ],
}
const ALGORITHMS: Readonly<Record<string, string>> = { '1': 'sha1', '2': 'sha256' }
const CERTIFICATE_PATH = /^\/SimpleNotificationService-[A-Za-z0-9]{1,100}\.pem$/
const CERTIFICATES_MAX = 50
const REQUEST_MS_MAX = 5_000

type Context = Pick<WebhookContext<unknown>, 'now' | 'door'>

/**
 * Takes what SNS sends for one topic, and confirms the subscription when it asks. Anybody can have SNS sign
 * something, so it must be of this topic; and the certificate that proves the signature is had from SNS itself.
 */
export async function receiveNotification(
  { body }: WebhookCall,
  context: Context,
  topic: string,
  read: (event: unknown) => readonly Report[],
): Promise<Received> {
  const sent = parseJson(body)
  if (sent === undefined) return MALFORMED
  const fields = SIGNED[String(pick(sent, 'Type'))]
  if (fields === undefined) return refusedCall('unsigned')
  if (pick(sent, 'TopicArn') !== topic) return refusedCall('bad_signature')
  if (!(await isSigned(sent, { fields, topic }, context))) return refusedCall('bad_signature')
  const at = Math.floor(Date.parse(String(pick(sent, 'Timestamp'))) / 1000)
  if (!isRecent(String(at), context.now, REPEATED_MS_MAX)) return refusedCall('bad_timestamp')
  if (pick(sent, 'Type') === 'SubscriptionConfirmation') {
    await confirm(pick(sent, 'SubscribeURL'), topic, context)
    return { kind: 'taken', reports: [] }
  }
  // The first one of a topic is a greeting, and no JSON.
  return { kind: 'taken', reports: read(parseJson(String(pick(sent, 'Message')))) }
}

async function isSigned(
  sent: unknown,
  { fields, topic }: { readonly fields: readonly string[]; readonly topic: string },
  context: Context,
): Promise<boolean> {
  const algorithm = ALGORITHMS[String(pick(sent, 'SignatureVersion'))]
  const url = urlOfService(pick(sent, 'SigningCertURL'), topic)
  if (algorithm === undefined || !url || !CERTIFICATE_PATH.test(url.pathname)) return false
  const certificate = await findCertificate(url.href, context.door)
  if (!certificate || !isValidAt(certificate, context.now)) return false
  const text = fields.flatMap((name) => {
    const value = pick(sent, name)
    return typeof value === 'string' ? [`${name}\n${value}\n`] : []
  })
  const signature = Buffer.from(String(pick(sent, 'Signature')), 'base64')
  return verify(algorithm, Buffer.from(text.join('')), certificate.publicKey, signature)
}

/** A URL at the service of the topic's own region; undefined for any other. */
function urlOfService(value: unknown, topic: string): URL | undefined {
  const url = typeof value === 'string' && URL.canParse(value) ? new URL(value) : undefined
  const [, partition, , region] = topic.split(':')
  const domain = partition === 'aws-cn' ? 'amazonaws.com.cn' : 'amazonaws.com'
  const isOurs = url?.origin === `https://sns.${region}.${domain}` && url.username === ''
  return isOurs ? url : undefined
}

/** By URL; a certificate has a new one when it is renewed. */
const certificates = new Map<string, X509Certificate>()

async function findCertificate(
  url: string,
  door: Pick<Door, 'request'>,
): Promise<X509Certificate | undefined> {
  const known = certificates.get(url)
  if (known) return known
  const { status, body } = await ask(url, door)
  if (status >= 500) throw new RequestError(503, 'service_unreachable', `SNS answered ${status}`)
  if (status !== 200) return undefined
  try {
    const certificate = new X509Certificate(body)
    if (certificates.size >= CERTIFICATES_MAX) certificates.clear()
    certificates.set(url, certificate)
    return certificate
  } catch {
    return undefined
  }
}

function isValidAt({ validFromDate, validToDate }: X509Certificate, now: Date): boolean {
  return validFromDate <= now && now <= validToDate
}

/** Without it nothing is sent. A signature of SNS says that this is asked for, and the URL leads to SNS. */
async function confirm(value: unknown, topic: string, { door }: Context): Promise<void> {
  const url = urlOfService(value, topic)
  if (!url) throw new RequestError(400, 'invalid_params', 'SubscribeURL does not lead to SNS')
  const { status } = await ask(url.href, door)
  if (status === 200) return
  const message = `SNS did not confirm the subscription (HTTP ${status})`
  throw new RequestError(503, 'service_unreachable', message)
}

function ask(url: string, door: Pick<Door, 'request'>) {
  return door.request(url, { method: 'GET', headers: {}, totalMs: REQUEST_MS_MAX })
}
