import net from 'node:net'
import { once } from 'node:events'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openDoor } from '../../src/channels/door.ts'
import type { Door } from '../../src/channels/door.ts'
import type { HandOver } from '../../src/channels/provider.ts'
import { smtp } from '../../src/channels/smtp.ts'
import type { SmtpSettings } from '../../src/channels/smtp.ts'
import type { EnvironmentName, MessageId } from '../../src/ids.ts'
import type { EmailContent } from '../../src/steps/step.ts'
import { smtpAnswer, startSmtp } from '../support/smtp.ts'

const now = new Date('2030-01-02T03:04:05Z')
let door: Door

beforeEach(() => {
  door = openDoor({ allow: [], loopback: true })
})
afterEach(() => door.close())

function anEmail(content: Partial<EmailContent> = {}): HandOver<EmailContent> {
  return {
    id: '0190a0b0-0000-7000-8000-000000000001' as MessageId,
    environment: 'production' as EnvironmentName,
    attempt: 1,
    content: {
      type: 'email',
      to: 'ann@example.com',
      from: null,
      reply_to: null,
      cc: [],
      bcc: [],
      subject: 'Hello',
      html: '<p>Hello</p>',
      text: 'Hello',
      headers: {},
      attachments: [],
      ...content,
    },
  }
}

function send(
  port: number,
  content: Partial<EmailContent> = {},
  settings: Partial<SmtpSettings> = {},
  signal = AbortSignal.timeout(5_000),
) {
  return smtp.send(anEmail(content), {
    settings: { host: '127.0.0.1', port, from: 'Example <hello@example.com>', ...settings },
    signal,
    now,
    door,
    secret: () => '',
  })
}

describe('a mail', () => {
  test('arrives with its parts, and with an id that each attempt repeats', async () => {
    await using server = await startSmtp()
    const answer = await send(server.port, { cc: ['cy@example.com'], bcc: ['bo@example.com'] })
    await send(server.port)
    expect(answer).toMatchObject({ kind: 'accepted', status: 'sent' })
    const [first, second] = server.mails
    expect(first?.from).toBe('hello@example.com')
    expect(first?.to).toEqual(['ann@example.com', 'cy@example.com', 'bo@example.com'])
    expect(first?.parsed).toMatchObject({ subject: 'Hello', html: '<p>Hello</p>', date: now })
    expect(first?.parsed.text?.trim()).toBe('Hello')
    expect(first?.raw).not.toContain('bo@example.com')
    const id = '<0190a0b0-0000-7000-8000-000000000001@example.com>'
    expect([first?.parsed.messageId, second?.parsed.messageId]).toEqual([id, id])
  })

  test('says that no person has written it, and whose domain its id is of', async () => {
    await using server = await startSmtp()
    await send(server.port, { from: 'Bo <bo@bücher.example>' })
    await send(server.port, { headers: { 'auto-submitted': 'no' } })
    const [usual, own] = server.mails.map(({ parsed }) => parsed)
    expect(usual?.messageId).toMatch(/@xn--bcher-kva\.example>$/)
    expect(usual?.headers.get('auto-submitted')).toBe('auto-generated')
    expect(own?.headers.get('auto-submitted')).toBe('no')
  })

  test('goes over an idle connection where there is one', async () => {
    await using server = await startSmtp()
    for (let index = 0; index < 5; index += 1) await send(server.port)
    expect(server.mails).toHaveLength(5)
    expect(server.connections).toBe(1)
  })

  test('with emoji, quotes and commas in names and subject comes out as it went in', async () => {
    await using server = await startSmtp()
    await send(server.port, {
      subject: 'Fire 🔥 drill, "now" — ünïcode '.repeat(6).trim(),
      from: 'O"Brien, Pat 🔔 <pat@example.com>',
      reply_to: '"Lee, A" <lee@example.com>',
    })
    const mail = server.mails[0]!.parsed
    expect(mail.subject).toBe('Fire 🔥 drill, "now" — ünïcode '.repeat(6).trim())
    expect(mail.from?.value).toEqual([{ name: 'O"Brien, Pat 🔔', address: 'pat@example.com' }])
    expect(mail.replyTo?.value).toEqual([{ name: 'Lee, A', address: 'lee@example.com' }])
  })

  test('with a line break in its subject gains no header', async () => {
    await using server = await startSmtp()
    await send(server.port, { subject: 'Hi\r\nBcc: eve@example.org\r\n\r\nbody' })
    const [mail] = server.mails
    expect(mail?.to).toEqual(['ann@example.com'])
    expect(mail?.parsed.subject).toBe('Hi Bcc: eve@example.org body')
    expect(mail?.parsed.headers.has('bcc')).toBe(false)
  })

  test('carries its headers and attachments', async () => {
    await using server = await startSmtp()
    const content = Buffer.from('a,b\n1,2\n')
    await send(server.port, {
      headers: { 'X-Campaign': 'spring', 'List-Unsubscribe': '<https://example.com/u>' },
      attachments: [
        { name: 'zahlen ü.csv', content_type: 'text/csv', content: content.toString('base64') },
      ],
    })
    const mail = server.mails[0]!.parsed
    expect(mail.headers.get('x-campaign')).toBe('spring')
    expect(mail.attachments).toMatchObject([{ filename: 'zahlen ü.csv', contentType: 'text/csv' }])
    expect(mail.attachments[0]?.content).toEqual(content)
  })

  test('logs in where the channel has credentials', async () => {
    const logins: unknown[] = []
    await using server = await startSmtp({
      authOptional: false,
      onAuth({ username, password }, _session, callback) {
        logins.push([username, password])
        callback(null, { user: username })
      },
    })
    const answer = await send(server.port, {}, { username: 'belfry', password: 'pass word' })
    expect(answer.kind).toBe('accepted')
    expect(logins).toEqual([['belfry', 'pass word']])
  })
})

test('TLS is used where a server of the machine itself offers it, and demanded on request', async () => {
  const sessions: boolean[] = []
  await using server = await startSmtp({
    disabledCommands: [],
    onMailFrom(_address, session, callback) {
      sessions.push(session.secure)
      callback()
    },
  })
  expect((await send(server.port)).kind).toBe('accepted')
  expect((await send(server.port, {}, { tls: 'none' })).kind).toBe('accepted')
  expect(sessions).toEqual([true, false])
  // The certificate of the test server is nobody's.
  expect(await send(server.port, {}, { tls: 'starttls' })).toMatchObject({ kind: 'failed' })
})

test('a server of another machine gets a mail over TLS or not at all', async () => {
  await using plain = await startSmtp()
  await using forged = await startSmtp({ disabledCommands: [] })
  const near = door
  // The socket is real; only where it leads to is said otherwise.
  door = {
    ...near,
    connect: async (...target) =>
      Object.defineProperty(await near.connect(...target), 'remoteAddress', {
        value: '203.0.113.7',
      }),
  }
  expect(await send(plain.port)).toMatchObject({ kind: 'failed' })
  expect(await send(forged.port)).toMatchObject({ kind: 'failed' })
  expect((await send(plain.port, {}, { tls: 'none' })).kind).toBe('accepted')
  expect([plain.mails.length, forged.mails.length]).toEqual([1, 0])
})

describe('refused before anything is sent', () => {
  test.each([
    ['two addresses', { to: 'ann@example.com,eve@example.org' }, 'invalid_address'],
    ['an address with a display name', { to: 'Ann <ann@example.com>' }, 'invalid_address'],
    ['a line break', { to: 'ann@example.com\r\nRCPT TO:<eve@example.org>' }, 'invalid_address'],
    ['no address', { to: '' }, 'invalid_address'],
    ['a list as copy', { cc: ['a@example.com, b@example.com'] }, 'invalid_address'],
    ['a hidden copy with a space', { bcc: ['a@example.com b@example.com'] }, 'invalid_address'],
    ['two senders', { from: 'a@example.com, b@example.com' }, 'invalid_address'],
    ['a line break in the sender', { from: 'A\r\nX: y <a@example.com>' }, 'invalid_address'],
    [
      'a header with a line break',
      { headers: { 'X-A': 'b\r\nBcc: eve@example.org' } },
      'invalid_header',
    ],
    ['a header name with a colon', { headers: { 'X-A: b\r\nBcc': 'eve' } }, 'invalid_header'],
    ['a reserved header', { headers: { bcc: 'eve@example.org' } }, 'invalid_header'],
    [
      'an attachment that is no base64',
      { attachments: [{ name: 'a', content_type: 'text/plain', content: '???' }] },
      'invalid_attachment',
    ],
  ])('%s', async (_case, content, reason) => {
    await using server = await startSmtp()
    const answer = await send(server.port, content)
    expect(answer).toMatchObject({ kind: 'rejected', reason, exchange: null })
    expect(server.connections).toBe(0)
  })
})

describe('an answer', () => {
  test.each([
    [550, '5.1.1 no such user', 'rejected'],
    [552, '5.3.4 too big', 'rejected'],
    [554, '5.7.1 policy', 'rejected'],
    [451, '4.3.0 local error', 'failed'],
    [450, '4.2.0 Greylisted', 'failed'],
    [452, '4.5.3 too many messages, slow down', 'throttled'],
    [421, '4.7.0 rate limited', 'throttled'],
    [454, '4.7.0 Throttling failure', 'throttled'],
  ])('%i %s to the mail means %s', async (code, text, kind) => {
    await using server = await startSmtp({ answer: () => smtpAnswer(code, text) })
    const answer = await send(server.port)
    expect(answer.kind).toBe(kind)
    expect(answer.exchange?.response).toMatchObject({ status: code })
  })

  test('550 to the recipient rejects, and 450 fails', async () => {
    for (const [code, kind] of [
      [550, 'rejected'],
      [450, 'failed'],
    ] as const) {
      await using server = await startSmtp({
        onRcptTo: (_address, _session, callback) => callback(smtpAnswer(code, 'not now')),
      })
      expect((await send(server.port)).kind).toBe(kind)
    }
  })

  test('that the mailbox is not there makes the address gone', async () => {
    for (const [text, cc, kind] of [
      ['5.1.1 no such user', [], 'bounced'],
      ['5.1.10 the domain takes no mail', ['cy@example.com'], 'bounced'],
      ['5.1.11 is another number', [], 'rejected'],
      ['5.7.1 not from you', [], 'rejected'],
      ['no such user, said without a number', [], 'rejected'],
    ] as const) {
      await using server = await startSmtp({
        onRcptTo: ({ address }, _session, callback) =>
          callback(address === 'ann@example.com' ? smtpAnswer(550, text) : null),
      })
      const answer = await send(server.port, { cc: [...cc] })
      expect([text, answer.kind]).toEqual([text, kind])
    }
  })

  test('about a copy or the sender says nothing of the address', async () => {
    const gone = smtpAnswer(550, '5.1.1 no such user')
    await using copies = await startSmtp({
      onRcptTo: ({ address }, _session, callback) =>
        callback(address === 'ann@example.com' ? smtpAnswer(550, '5.7.1 not you') : gone),
    })
    expect(await send(copies.port, { cc: ['cy@example.com'] })).toMatchObject({ kind: 'rejected' })
    await using sender = await startSmtp({ onMailFrom: (_a, _s, callback) => callback(gone) })
    expect(await send(sender.port)).toMatchObject({ kind: 'rejected' })
  })

  test('that refuses only the person it is for is not a success', async () => {
    await using server = await startSmtp({
      onRcptTo: ({ address }, _session, callback) =>
        callback(address === 'ann@example.com' ? smtpAnswer(550, 'no such user') : null),
    })
    const answer = await send(server.port, { cc: ['cy@example.com'] })
    expect(answer).toMatchObject({ kind: 'rejected', reason: 'provider_rejected' })
  })

  test('535 to the login fails with a word about the credentials, and without them', async () => {
    await using server = await startSmtp({
      onAuth: (_auth, _session, callback) => callback(smtpAnswer(535, '5.7.8 bad credentials')),
    })
    const answer = await send(server.port, {}, { username: 'belfry', password: 'hunter22-secret' })
    expect(answer).toMatchObject({ kind: 'failed' })
    expect(JSON.stringify(answer)).toContain('credentials of the channel')
    expect(JSON.stringify(answer)).not.toContain('hunter22-secret')
  })
})

describe('a connection', () => {
  test('that nobody takes fails', async () => {
    const dead = await startSmtp()
    await dead[Symbol.asyncDispose]()
    expect(await send(dead.port)).toMatchObject({ kind: 'failed' })
  })

  test('to a closed address fails and says how to open it', async () => {
    door.close()
    door = openDoor({ allow: [], loopback: false })
    await using server = await startSmtp()
    const answer = await send(server.port)
    expect(answer).toMatchObject({ kind: 'failed' })
    expect(JSON.stringify(answer)).toContain('BELFRY_ALLOWED_TARGETS')
    expect(server.connections).toBe(0)
  })

  test('dropped before the greeting fails', async () => {
    await using server = await rawServer((socket) => socket.destroy())
    expect(await send(server.port)).toMatchObject({ kind: 'failed' })
  })

  test.each(['drops', 'stays silent'])('that %s after the data leaves it unknown', async (how) => {
    await using server = await rawServer((socket) => {
      speak(socket, () => {
        if (how === 'drops') socket.destroy()
      })
    })
    const answer = await send(server.port, {}, {}, AbortSignal.timeout(300))
    expect(answer).toMatchObject({ kind: 'unknown' })
    expect(server.connections()).toBe(1)
  })

  test('closed by the server while idle costs no mail', async () => {
    await using server = await rawServer((socket) => {
      speak(socket, () => {
        socket.write('250 taken\r\n')
        // The next mail finds a session that is about to end.
        socket.once('data', () => socket.destroy())
      })
    })
    expect(await send(server.port)).toMatchObject({ kind: 'accepted' })
    expect(await send(server.port)).toMatchObject({ kind: 'accepted' })
    expect(server.connections()).toBe(2)
  })
})

/** A server that speaks just enough SMTP, and does as told once it has the data. */
function speak(socket: net.Socket, afterData: () => void): void {
  let inData = false
  socket.write('220 ready\r\n')
  socket.on('data', (chunk) => {
    const text = chunk.toString()
    if (inData) {
      if (!text.endsWith('\r\n.\r\n')) return
      inData = false
      return afterData()
    }
    if (text.startsWith('DATA')) inData = true
    socket.write(inData ? '354 go on\r\n' : '250 fine\r\n')
  })
}

async function rawServer(onSocket: (socket: net.Socket) => void) {
  const sockets: net.Socket[] = []
  const server = net.createServer((socket) => {
    sockets.push(socket)
    socket.on('error', () => {})
    onSocket(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as net.AddressInfo).port,
    connections: () => sockets.length,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}
