import { RetryableFailure } from '../errors.ts'
import type { Revision } from '../ids.ts'
import { UnsupportedRepository } from './location.ts'
import { DELIMITER, FLUSH, lineOf, packet, readPackets } from './pkt-line.ts'
import type { Packet } from './pkt-line.ts'
import type { Limits, RemoteAnswer, Transport } from './transport.ts'

/**
 * The two questions that Belfry asks a remote: where its refs are, and for the objects of some.
 * Asked here and not through the library: its `fetch` moves refs before the objects are there,
 * takes in packs that were cut, holds them in memory and on the one thread, and asks for every branch.
 */

/** What a remote says about its refs, and how it was asked. */
export interface Listing {
  /** By full name, such as `refs/heads/main`. */
  readonly refs: ReadonlyMap<string, Revision>
  /** The full name of the ref that HEAD stands for, which may have no commit yet; null when it stands for none. */
  readonly head: string | null
  readonly speech: Speech
}

/** Which protocol the remote speaks, and at which address after a redirect. */
interface Speech {
  readonly version: 0 | 2
  readonly url: string
  /** Git before 2.28 does not know the word, and answers nothing to a question that has it. */
  readonly knowsFormats: boolean
}

export interface PackRequest {
  readonly wants: readonly string[]
  /** Commits of which everything is here already. */
  readonly haves: readonly string[]
  readonly limits: Limits
}

const SERVICE = 'git-upload-pack'
const V2_HEADERS = { 'git-protocol': 'version=2' }
const SHA1_FORMAT = 'object-format=sha1'
const ZERO_ID = '0'.repeat(40)
const OID = /^[0-9a-f]{40}$/
const OID_SHA256 = /^[0-9a-f]{64}$/

/**
 * Asks a remote for its HEAD and for those refs whose names start with one of `prefixes`: one
 * exchange or two. Throws as `Transport.request` does, an `UnsupportedRepository` for one with
 * other ids, or a `RetryableFailure` where the answer is not whole.
 */
export async function listRefs(
  transport: Transport,
  prefixes: readonly string[],
  limits: Limits,
): Promise<Listing> {
  const advertised = await transport.request({
    method: 'GET',
    url: `${transport.address.url}/info/refs?service=${SERVICE}`,
    headers: { accept: '*/*', ...V2_HEADERS },
    limits,
  })
  const lines = await advertisement(transport, advertised)
  const url = serviceAddress(transport, advertised.url)
  if (lines[0] !== 'version 2') {
    return listingOf(lines, prefixes, { version: 0, url, knowsFormats: false })
  }
  const capabilities = new Set(lines)
  assertSha1(capabilities)
  const speech = { version: 2, url, knowsFormats: capabilities.has(SHA1_FORMAT) } as const
  const answer = await transport.request({
    method: 'POST',
    url: `${url}/${SERVICE}`,
    headers: postHeaders(2),
    body: Buffer.from(listCommand(capabilities, prefixes)),
    limits,
  })
  const listed = await wholeLines(transport, answer)
  return { ...readListed(listed), speech }
}

function listCommand(capabilities: ReadonlySet<string>, prefixes: readonly string[]): string {
  const features = [...capabilities].find((one) => one.startsWith('ls-refs='))?.slice(8) ?? ''
  return [
    packet('command=ls-refs'),
    ...(capabilities.has(SHA1_FORMAT) ? [packet(SHA1_FORMAT)] : []),
    DELIMITER,
    packet('symrefs'),
    ...(features.split(' ').includes('unborn') ? [packet('unborn')] : []),
    ...['HEAD', ...prefixes].map((prefix) => packet(`ref-prefix ${prefix}`)),
    FLUSH,
  ].join('')
}

/** The lines of the first answer, without the one that names the service. */
async function advertisement(transport: Transport, answer: RemoteAnswer): Promise<string[]> {
  if (answer.contentType.split(';')[0] !== `application/x-${SERVICE}-advertisement`) {
    // Taken to its end or dropped, a body holds no connection.
    for await (const _ of answer.body) break
    throw new RetryableFailure(
      `${transport.address.url} does not answer as a Git repository does: check the address, and that the server offers smart HTTP`,
    )
  }
  const lines = await wholeLines(transport, answer)
  return lines[0] === `# service=${SERVICE}` ? lines.slice(1) : lines
}

/** Reads an answer to its end. One without the packet that ends it was cut: a ref that it lacks may be there. */
async function wholeLines({ scrub }: Transport, answer: RemoteAnswer): Promise<string[]> {
  const lines: string[] = []
  let last: Packet['kind'] | undefined
  for await (const one of readPackets(answer.body)) {
    last = one.kind
    if (one.kind !== 'data') continue
    const line = lineOf(one.bytes)
    if (line.startsWith('ERR '))
      throw new RetryableFailure(`the remote says: ${scrub(line.slice(4))}`)
    lines.push(line)
  }
  if (last !== 'flush') throw new RetryableFailure('the answer of the remote was cut short')
  return lines
}

/** Where to ask on: a redirect of the first question holds for the others too, as it does for Git. */
function serviceAddress({ address }: Transport, answered: string): string {
  const suffix = `/info/refs?service=${SERVICE}`
  if (answered.endsWith(suffix)) return answered.slice(0, -suffix.length)
  throw new RetryableFailure(
    `${address.url} redirects to a page that is no Git repository: check the address, and whether it asks for credentials`,
  )
}

function readListed(lines: readonly string[]): Pick<Listing, 'refs' | 'head'> {
  const refs = new Map<string, Revision>()
  let head: string | null = null
  for (const line of lines) {
    const [id = '', name = '', ...attributes] = line.split(' ')
    const target = attributes.find((one) => one.startsWith('symref-target:'))?.slice(14)
    if (name === 'HEAD') head = target ?? null
    else if (id !== 'unborn') refs.set(name, checkedId(id))
  }
  return { refs, head }
}

/** A server of the first protocol lists all it has, with what it can do behind the first ref. */
function listingOf(lines: readonly string[], prefixes: readonly string[], speech: Speech): Listing {
  const [first = '', ...others] = lines
  const [line = '', features = ''] = first.split('\0')
  const capabilities = new Set(features.split(' '))
  assertSha1(capabilities)
  const refs = new Map<string, Revision>()
  for (const one of line.startsWith(ZERO_ID) ? others : [line, ...others]) {
    const [id = '', name = ''] = one.split(' ')
    const isWanted = prefixes.some((prefix) => name.startsWith(prefix)) && !name.endsWith('^{}')
    if (isWanted) refs.set(name, checkedId(id))
  }
  const symref = [...capabilities].find((one) => one.startsWith('symref=HEAD:'))
  return { refs, head: symref?.slice('symref=HEAD:'.length) ?? null, speech }
}

function assertSha1(capabilities: ReadonlySet<string>): void {
  const format = [...capabilities].find((one) => one.startsWith('object-format='))?.slice(14)
  if (format !== undefined && format !== 'sha1') throw otherIds(format)
}

function checkedId(id: string): Revision {
  if (OID.test(id)) return id as Revision
  if (OID_SHA256.test(id)) throw otherIds('sha256')
  throw new RetryableFailure('the remote lists a ref without a commit id')
}

function otherIds(format: string): UnsupportedRepository {
  return new UnsupportedRepository(
    `the remote repository uses ${format} object ids: use one made with \`git init --object-format=sha1\``,
  )
}

/**
 * Asks for all objects of `wants` that `haves` lack, and answers the bytes of the pack as they come.
 * Throws as `Transport.request` does, or a `RetryableFailure` where the remote ends without having sent one.
 */
export async function* fetchPack(
  transport: Transport,
  speech: Speech,
  { wants, haves, limits }: PackRequest,
): AsyncGenerator<Uint8Array> {
  const { version, url } = speech
  const question = version === 2 ? fetchCommand(speech, wants, haves) : uploadRequest(wants, haves)
  const answer = await transport.request({
    method: 'POST',
    url: `${url}/${SERVICE}`,
    headers: postHeaders(version),
    body: Buffer.from(question),
    limits,
  })
  let isPack = version === 0
  let isWhole = false
  for await (const one of readPackets(answer.body)) {
    if (one.kind !== 'data') {
      isWhole = one.kind === 'flush'
      continue
    }
    if (!isPack) isPack = beginsPack(transport, one.bytes)
    else if (!isAcknowledgement(one.bytes)) yield packBytes(transport, one.bytes)
  }
  if (!isPack || !isWhole) throw new RetryableFailure('the remote stopped in the middle of a pack')
}

function postHeaders(version: 0 | 2): Record<string, string> {
  return {
    'content-type': `application/x-${SERVICE}-request`,
    accept: `application/x-${SERVICE}-result`,
    ...(version === 2 && V2_HEADERS),
  }
}

function fetchCommand(
  { knowsFormats }: Speech,
  wants: readonly string[],
  haves: readonly string[],
): string {
  return [
    packet('command=fetch'),
    ...(knowsFormats ? [packet(SHA1_FORMAT)] : []),
    DELIMITER,
    packet('ofs-delta'),
    packet('no-progress'),
    ...wants.map((id) => packet(`want ${id}`)),
    ...haves.map((id) => packet(`have ${id}`)),
    packet('done'),
    FLUSH,
  ].join('')
}

function uploadRequest(wants: readonly string[], haves: readonly string[]): string {
  const features = ' side-band-64k ofs-delta no-progress'
  return [
    ...wants.map((id, index) => packet(`want ${id}${index === 0 ? features : ''}`)),
    FLUSH,
    ...haves.map((id) => packet(`have ${id}`)),
    packet('done'),
  ].join('')
}

/** Whether this line stands before the pack; what else may stand there is about what we did not ask for. */
function beginsPack({ scrub }: Transport, bytes: Buffer): boolean {
  const line = lineOf(bytes)
  if (line.startsWith('ERR '))
    throw new RetryableFailure(`the remote says: ${scrub(line.slice(4))}`)
  if (line.startsWith('shallow ')) {
    throw new UnsupportedRepository(
      'the remote repository has only a part of its history: run `git fetch --unshallow` in it',
    )
  }
  return line === 'packfile'
}

function isAcknowledgement(bytes: Buffer): boolean {
  return /^(?:NAK|ACK [0-9a-f]{40})\b/.test(bytes.toString('latin1', 0, 50))
}

const PACK_BAND = 1
const PROGRESS_BAND = 2
const ERROR_BAND = 3

function packBytes({ scrub }: Transport, bytes: Buffer): Buffer {
  const [band] = bytes
  if (band === PACK_BAND) return bytes.subarray(1)
  if (band === PROGRESS_BAND) return bytes.subarray(bytes.length)
  const text = bytes.toString('utf8', band === ERROR_BAND ? 1 : 0).replace(/^ERR /, '')
  throw new RetryableFailure(`the remote says: ${scrub(text.trim())}`)
}
