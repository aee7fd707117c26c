import { createHash, createPublicKey, generateKeyPairSync, verify } from 'node:crypto'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openDoor } from '../../src/channels/door.ts'
import type { Door } from '../../src/channels/door.ts'
import { smtp } from '../../src/channels/smtp.ts'
import type { EnvironmentName, MessageId } from '../../src/ids.ts'
import { startSmtp } from '../support/smtp.ts'

const key = pemOf(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey)

let door: Door
beforeEach(() => {
  door = openDoor({ allow: [], loopback: true })
})
afterEach(() => door.close())

function send(port: number, privateKey: string) {
  return smtp.send(
    {
      id: '0190a0b0-0000-7000-8000-000000000001' as MessageId,
      environment: 'production' as EnvironmentName,
      attempt: 1,
      content: {
        type: 'email',
        to: 'ann@example.com',
        from: null,
        reply_to: 'Lee, A <lee@example.com>',
        cc: ['cy@example.com'],
        bcc: [],
        subject: 'Fire 🔥 drill, "now" — ünïcode '.repeat(6).trim(),
        html: '<p>Grüße,  Ann \t</p>\n\n',
        text: '.\n..dots\n\n  Grüße  \n\n\n',
        headers: {
          'List-Unsubscribe': '<https://example.com/u>',
          'List-Unsubscribe-Post': 'List-Unsubscribe=One-Click',
        },
        attachments: [],
      },
    },
    {
      settings: {
        host: '127.0.0.1',
        port,
        from: 'Example <hello@example.com>',
        dkim: { domain: 'example.com', selector: 'belfry', private_key: privateKey },
      },
      signal: AbortSignal.timeout(5_000),
      now: new Date('2030-01-02T03:04:05Z'),
      door,
      secret: () => '',
    },
  )
}

test('a mail arrives with a signature that holds for its body and for what unsubscribes', async () => {
  await using server = await startSmtp()
  expect((await send(server.port, key)).kind).toBe('accepted')
  // As a variable of the surroundings has it.
  expect((await send(server.port, key.replaceAll('\n', '\\n'))).kind).toBe('accepted')
  for (const { raw, parsed } of server.mails) {
    expect(parsed.messageId).toBeDefined()
    const { tags, isValid } = judge(raw)
    expect(tags).toMatchObject({ v: '1', a: 'rsa-sha256', d: 'example.com', s: 'belfry' })
    const named = ['from', 'to', 'subject', 'date', 'list-unsubscribe', 'list-unsubscribe-post']
    expect(tags['h']?.split(':')).toEqual(expect.arrayContaining(named))
    expect(isValid).toBe(true)
    expect(judge(raw.replace('..dots', '..dogs')).isValid).toBe(false)
    expect(judge(raw.replace('One-Click', 'Two-Click')).isValid).toBe(false)
    expect(judge(raw.replace('example.com/u', 'example.org/u')).isValid).toBe(false)
  }
})

test.each([
  ['no key', 'MIIEnonsense'],
  ['a key of another kind', pemOf(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey)],
  ['a short key', pemOf(generateKeyPairSync('rsa', { modulusLength: 512 }).privateKey)],
])('with %s nothing goes out, and the channel is said to be at fault', async (_case, wrong) => {
  await using server = await startSmtp()
  const answer = await send(server.port, wrong)
  expect(answer).toMatchObject({ kind: 'failed', channel: true, exchange: null })
  expect(JSON.stringify(answer)).toContain('dkim.private_key')
  expect(JSON.stringify(answer)).not.toContain(wrong.replaceAll(/-----[^-]*-----/g, '').trim())
  expect(server.connections).toBe(0)
})

function pemOf(one: {
  export(options: { type: 'pkcs8'; format: 'pem' }): string | Buffer
}): string {
  return one.export({ type: 'pkcs8', format: 'pem' }).toString()
}

/** What a receiver makes of the signature: RFC 6376 with relaxed canonicalisation, written for this test. */
function judge(raw: string): { readonly tags: Record<string, string>; readonly isValid: boolean } {
  const end = raw.indexOf('\r\n\r\n')
  const headers = raw
    .slice(0, end)
    .replaceAll(/\r\n(?=[ \t])/g, '')
    .split('\r\n')
    .map((line) => {
      const [name = '', ...value] = line.split(':')
      return [
        name.trim().toLowerCase(),
        value
          .join(':')
          .replaceAll(/[ \t]+/g, ' ')
          .trim(),
      ] as const
    })
  const signature = headers.find(([name]) => name === 'dkim-signature')?.[1] ?? ''
  const tags = Object.fromEntries(
    signature.split(';').map((tag) => {
      const [name = '', ...value] = tag.split('=')
      return [name.trim(), value.join('=').replaceAll(/\s/g, '')]
    }),
  )
  const body = raw
    .slice(end + 4)
    .split('\r\n')
    .map((line) => line.replaceAll(/[ \t]+/g, ' ').replace(/ $/, ''))
    .join('\r\n')
    .replace(/(?:\r\n)*$/, '\r\n')
  const named = (tags['h'] ?? '').split(':')
  const signed = [
    ...named.map((name) => `${name}:${headers.findLast(([one]) => one === name)?.[1]}`),
    `dkim-signature:${signature.replace(/(?<=;\s*b=).*$/, '')}`,
  ].join('\r\n')
  const isWhole = createHash('sha256').update(body).digest('base64') === tags['bh']
  const proof = Buffer.from(tags['b'] ?? '', 'base64')
  return {
    tags,
    isValid: isWhole && verify('sha256', Buffer.from(signed), createPublicKey(key), proof),
  }
}
