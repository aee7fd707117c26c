import { rm } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { ConfigError, messageOf } from '../../src/errors.ts'
import { checkRemote, openRemote, openSources } from '../../src/git/open.ts'
import { RemoteRepository } from '../../src/git/remote.ts'
import { parseRemoteAddress } from '../../src/remote-address.ts'
import { serveRepository } from '../support/git-server.ts'
import type { GitServer } from '../support/git-server.ts'
import { startHttp } from '../support/http.ts'
import { temporaryDirectory } from '../support/repository.ts'

const ADA = { username: 'ada', password: 's3cret/with%odd:signs' }
const FILES = { 'workflows/welcome/workflow.yaml': 'name: Welcome\n' }
/** How the password looks on its way and beside it. */
const FORMS = [
  ADA.password,
  encodeURIComponent(ADA.password),
  Buffer.from(`${ADA.username}:${ADA.password}`).toString('base64'),
]

async function problemOf(server: GitServer, given: Partial<typeof ADA>): Promise<string> {
  const directory = await temporaryDirectory()
  try {
    await using remote = await RemoteRepository.open({
      address: parseRemoteAddress(server.url, given),
      directory,
    })
    await remote.refs()
    return ''
  } catch (error) {
    return messageOf(error)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

describe('credentials', () => {
  test('in the address are taken out of it and used', async () => {
    await using served = await serveRepository(FILES)
    const { server } = served
    server.credentials = ADA
    const given = `${ADA.username}:${encodeURIComponent(ADA.password)}@`
    const address = parseRemoteAddress(server.url.replace('://', `://${given}`), {})
    expect(address).toEqual({ url: server.url, credentials: ADA })
    expect(await checkRemote(server.url.replace('://', `://${given}`), {})).toMatchObject({
      kind: 'readable',
      head: 'main',
      branches: 1,
    })
  })

  test('win over those that are set beside it, and a token may stand alone', () => {
    const url = 'https://git.example.com/x.git/'
    expect(parseRemoteAddress('https://t0ken@git.example.com/x.git/', ADA).credentials).toEqual({
      username: 't0ken',
      password: '',
    })
    expect(parseRemoteAddress(url, { password: 't0ken' }).credentials).toEqual({
      username: 'git',
      password: 't0ken',
    })
    expect(parseRemoteAddress(url, {})).toEqual({
      url: 'https://git.example.com/x.git',
      credentials: null,
    })
  })

  test('are not sent in the clear, but to this machine', () => {
    expect(() => parseRemoteAddress('http://git.example.com/x.git', ADA)).toThrow(ConfigError)
    expect(() => parseRemoteAddress('http://localhost.example.com/x.git', ADA)).toThrow('clear')
    for (const host of ['127.0.0.1', 'localhost', '[::1]']) {
      expect(parseRemoteAddress(`http://${host}:3000/x.git`, ADA).credentials).toEqual(ADA)
    }
  })

  test('are in no message of what goes wrong, whatever the server says', async () => {
    await using served = await serveRepository(FILES)
    const { server } = served
    const line = `ERR ${FORMS.join(' ')}`
    const body = Buffer.from(`${(line.length + 4).toString(16).padStart(4, '0')}${line}0000`)
    const troubles = [
      () => ({ kind: 'status', status: 401 }) as const,
      () => ({ kind: 'status', status: 404 }) as const,
      () => ({ kind: 'status', status: 500 }) as const,
      () => ({ kind: 'cut', bytes: 10 }) as const,
      () => ({ kind: 'body', body }) as const,
      () => {
        const location = `http://${FORMS[1]}@other.example.com/${FORMS[2]}`
        return { kind: 'status', status: 302, headers: { location } } as const
      },
    ]
    for (const step of ['advertise', 'list', 'fetch'] as const) {
      for (const trouble of troubles) {
        server.trouble = (request) => (request.step === step ? trouble() : undefined)
        const problem = await problemOf(server, ADA)
        expect(problem).not.toBe('')
        for (const form of FORMS) expect(problem).not.toContain(form)
      }
    }
  })

  test('that are missing or wrong are told apart', async () => {
    await using served = await serveRepository(FILES)
    served.server.credentials = ADA
    const { url } = served.server
    expect(await checkRemote(url, ADA)).toMatchObject({ kind: 'readable' })
    const wrong = await checkRemote(url, { ...ADA, password: 'wrong' })
    expect(wrong).toMatchObject({ kind: 'authentication' })
    expect(JSON.stringify(wrong)).toContain('refuses the credentials')
    const missing = await checkRemote(url, {})
    expect(missing).toMatchObject({ kind: 'authentication' })
    expect(JSON.stringify(missing)).toContain('set BELFRY_GIT_USERNAME')
    expect(await checkRemote(`${url}x`, ADA)).toMatchObject({ kind: 'repository_missing' })
    expect(await checkRemote('http://127.0.0.1:1/x.git', {})).toMatchObject({ kind: 'unreachable' })
  })
})

describe('a redirect', () => {
  test('to another host is refused, and nothing is sent there', async () => {
    await using served = await serveRepository(FILES)
    await using other = await startHttp()
    for (const status of [301, 302, 303, 307, 308]) {
      for (const step of ['advertise', 'list', 'fetch'] as const) {
        served.server.trouble = (request) =>
          request.step === step
            ? { kind: 'status', status, headers: { location: `${other.url}${request.path}` } }
            : undefined
        const problem = await problemOf(served.server, ADA)
        expect(problem).toContain('which is not followed')
        expect(problem).toContain(other.url)
      }
    }
    expect(other.requests).toEqual([])
  })

  test('on the same host is followed by all requests', async () => {
    await using served = await serveRepository(FILES)
    const { server } = served
    server.credentials = ADA
    server.trouble = ({ path }) =>
      path.startsWith('/old')
        ? {
            kind: 'status',
            status: 301,
            headers: { location: path.replace('/old/name.git', '/repository.git') },
          }
        : undefined
    const old = server.url.replace('/repository.git', '/old/name.git')
    expect(await problemOf({ ...server, url: old }, ADA)).toBe('')
    expect(server.requests.map(({ path }) => path.split('?')[0])).toEqual([
      '/old/name.git/info/refs',
      '/repository.git/info/refs',
      '/repository.git/git-upload-pack',
      '/repository.git/git-upload-pack',
    ])
  })

  test('to a page that is no repository, or in a circle, ends with a message', async () => {
    await using served = await serveRepository(FILES)
    const { server } = served
    server.trouble = ({ path }) => ({ kind: 'status', status: 302, headers: { location: path } })
    expect(await problemOf(server, {})).toContain('redirects too often')
    expect(server.count()).toBe(6)
    server.trouble = ({ path }) =>
      path.startsWith('/login')
        ? { kind: 'body', body: Buffer.from('<html>') }
        : { kind: 'status', status: 302, headers: { location: '/login' } }
    expect(await problemOf(server, {})).not.toBe('')
  })
})

describe('a redirect on the same host', () => {
  test.each(['list', 'fetch'] as const)(
    'is not followed with what was sent along (%s)',
    async (step) => {
      await using served = await serveRepository(FILES)
      const { server } = served
      const location = `${server.url}/git-upload-pack`
      server.trouble = (request) =>
        request.step === step ? { kind: 'status', status: 307, headers: { location } } : undefined
      expect(await problemOf(server, ADA)).toContain('which is not followed')
      expect(server.count(step)).toBe(1)
    },
  )

  test('leads to no other port, also on the way to https', async () => {
    await using served = await serveRepository(FILES)
    const { server } = served
    const location = 'https://127.0.0.1/repository.git/info/refs?service=git-upload-pack'
    server.trouble = () => ({ kind: 'status', status: 301, headers: { location } })
    expect(await problemOf(server, ADA)).toContain('which is not followed')
  })

  test('brings no credentials of its own', async () => {
    await using served = await serveRepository(FILES)
    const { server } = served
    const next = server.url.replace('://', '://eve:secret@')
    server.trouble = ({ path }) =>
      path.startsWith('/old')
        ? {
            kind: 'status',
            status: 302,
            headers: { location: path.replace('/old/name.git', next) },
          }
        : undefined
    const old = server.url.replace('/repository.git', '/old/name.git')
    expect(await problemOf({ ...server, url: old }, {})).toBe('')
    expect(server.requests.length).toBeGreaterThan(2)
    for (const { headers } of server.requests) expect(headers).not.toHaveProperty('authorization')
  })
})

describe('a server of Git 2.18 to 2.27', () => {
  test('is asked nothing with a word that it does not know, which it would die of', async () => {
    await using served = await serveRepository(FILES)
    const { server } = served
    const lines = ['# service=git-upload-pack', '', 'version 2', 'agent=git/2.25.1', 'ls-refs']
    const advertised = [...lines, 'fetch=shallow', 'server-option', ''].map((line) =>
      line === '' ? '0000' : `${(line.length + 5).toString(16).padStart(4, '0')}${line}\n`,
    )
    const body = Buffer.from(advertised.join(''))
    server.trouble = (request) => {
      if (request.step === 'advertise') return { kind: 'body', body }
      return request.body.includes('object-format') ? { kind: 'cut', bytes: 0 } : undefined
    }
    expect(await problemOf(server, {})).toBe('')
    expect(server.count('list')).toBe(1)
    expect(server.count('fetch')).toBe(1)
  })
})

describe('what a remote says', () => {
  test('is shown short and without control characters', async () => {
    await using served = await serveRepository(FILES)
    const line = `ERR \u001b[31mred\u0007 ${'x'.repeat(2000)}`
    const body = Buffer.from(`${(line.length + 4).toString(16).padStart(4, '0')}${line}0000`)
    served.server.trouble = ({ step }) => (step === 'list' ? { kind: 'body', body } : undefined)
    const problem = await problemOf(served.server, {})
    expect(problem).toContain('[31mred  xxx')
    expect(problem).not.toMatch(/\p{Cc}/u)
    expect(problem.length).toBeLessThan(400)
  })

  test.each([404, 410])('with %d is that there is no repository', async (status) => {
    await using served = await serveRepository(FILES)
    served.server.trouble = () => ({ kind: 'status', status })
    expect(await checkRemote(served.server.url, {})).toMatchObject({ kind: 'repository_missing' })
  })
})

describe('opening', () => {
  test('says which addresses are none', async () => {
    const at = { development: false }
    await expect(openSources('git@git.example.com:x.git', at)).rejects.toThrow('HTTPS')
    await expect(openSources('ssh://git.example.com/x.git', at)).rejects.toThrow('HTTPS')
    expect(() => parseRemoteAddress('https://', {})).toThrow(ConfigError)
    expect(() => parseRemoteAddress('https://git.example.com/x.git?token=1', {})).toThrow('query')
  })

  test('needs a working tree in development mode', async () => {
    const address = parseRemoteAddress('https://git.example.com/x.git', {})
    await expect(
      openRemote({ address, mirrors: '/nonexistent' }, { development: true }),
    ).rejects.toThrow(ConfigError)
  })
})
