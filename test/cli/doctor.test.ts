import { copyFile, mkdir, readdir, utimes, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { checkDisk, checkNode, judgeRoom } from '../../src/cli/doctor/machine.ts'
import { noteServer } from '../../src/data-directory.ts'
import { checkWatch, checkWatchLimits } from '../../src/cli/doctor/watcher.ts'
import { serveRepository } from '../support/git-server.ts'
import { git, testRepository } from '../support/repository.ts'
import { examine, openPlace } from './doctor-support.ts'
import { run } from './program-support.ts'
import { checkReports } from '../../src/cli/doctor/reports.ts'
import { aChannel, production } from '../messages/builders.ts'

const FEED = 'channels: { feed: { type: in_app, provider: in_app } }'
const SOUND = { 'environments/production.yaml': `{ ref: main, ${FEED} }\n` }

function mailer(port: number): string {
  return `ref: main
variables: { crm: { secret: CRM_TOKEN } }
channels:
  email:
    type: email
    provider: smtp
    settings: { host: { secret: MAIL_HOST }, port: ${port}, tls: none, from: hello@example.com, password: { secret: MAIL_PASSWORD } }
`
}

const SECRETS = {
  BELFRY_SECRET_PRODUCTION__CRM_TOKEN: 'the-token-of-the-crm',
  BELFRY_SECRET_PRODUCTION__MAIL_PASSWORD: 'the-password-of-the-mail',
  BELFRY_SECRET_PRODUCTION__MAIL_HOST: '127.0.0.1',
}

/** Takes connections, and keeps what each has sent until its end. */
async function listen(): Promise<
  AsyncDisposable & { readonly port: number; readonly ended: readonly string[] }
> {
  const ended: string[] = []
  const server = createServer((socket) => {
    let sent = ''
    socket.on('data', (chunk) => (sent += String(chunk)))
    socket.on('error', () => {})
    socket.on('close', () => ended.push(sent))
  })
  server.listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    ended,
    [Symbol.asyncDispose]: () => new Promise((resolve) => void server.close(() => resolve())),
  }
}

/** A port of the loopback at which nothing listens. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

describe('doctor, without a server', () => {
  test('says so, finds a sound repository sound, and sends nothing', async () => {
    await using place = await openPlace()
    await using repository = await testRepository()
    await using host = await listen()
    await repository.commit({ 'environments/production.yaml': mailer(host.port) })
    const env = {
      ...SECRETS,
      BELFRY_REPO: repository.path,
      BELFRY_ALLOWED_TARGETS: '127.0.0.1',
      BELFRY_OPERATOR_TOKEN: 'the-token-of-the-operator',
    }
    const found = await examine(place, env)
    expect(found.code).toBe(0)
    expect(found.problems).toBe(0)
    expect(found.about('git')).toEqual([
      `ok ${repository.path} can be read`,
      'ok main says what environments there are',
    ])
    expect(found.about('secrets')).toEqual([
      'ok production has CRM_TOKEN',
      'ok production has MAIL_HOST',
      'ok production has MAIL_PASSWORD',
    ])
    expect(found.about('providers')).toEqual([
      `ok production/email (smtp) is valid; ***:${host.port} takes connections`,
    ])
    await expect.poll(() => host.ended).toEqual([''])
    expect(found.about('server')[0]).toMatch(/^warning no running server was asked: no key/)
    expect(found.about('watcher')).toContainEqual(expect.stringMatching(/^ok a change was seen/))
    expect(found.out + found.error).not.toMatch(/the-(token|password)-of/)
    expect((await examine(place, env, { words: ['--strict'] })).code).toBe(1)
    expect(await readdir(place.directory)).toEqual([])
  })

  test('says it in lines, each with what to do', async () => {
    const { code, out } = await run(['doctor', '--repo', '/nowhere'], {
      env: { BELFRY_REPO: '/nowhere', BELFRY_TYPO: '1' },
      settings: { url: undefined, apiKey: undefined },
    })
    expect(code).toBe(1)
    expect(out).toMatch(
      /problem  git           there is no Git repository at \/nowhere.*\n {23}Name a repository that can be read/,
    )
    expect(out).toMatch(/\n\n1 problem, \d warnings\n$/)
    const asked = await run(['doctor', 'what'])
    expect(asked.code).toBe(2)
  })

  test('names every setting that is wrong, and what is not meant', async () => {
    await using place = await openPlace()
    const wrong = await examine(place, { PORT: 'x', BELFRY_PUBLIC_URL: 'https://u:p4ss@host' })
    expect(wrong.code).toBe(1)
    expect(wrong.about('settings')).toHaveLength(2)
    expect(wrong.out).not.toContain('p4ss')
    const odd = await examine(place, {
      BELFRY_TYPO: '1',
      BELFRY_ALLOWED_TARGETS: '0.0.0.0/0,169.254.0.0/16,10.0.0.0/8',
    })
    expect(odd.about('settings')).toEqual(['warning BELFRY_TYPO is not a setting of Belfry'])
    expect(odd.about('targets')).toEqual([
      'warning 0.0.0.0/0 opens every address of this network to whoever writes a URL',
      'warning 169.254.0.0/16 opens the address at which clouds hand out credentials',
    ])
    const narrow = await examine(place, { BELFRY_ALLOWED_TARGETS: '10.0.0.0/8' })
    expect(narrow.about('targets')).toEqual(['ok 10.0.0.0/8 may be reached'])
  })
})

describe('doctor, of a repository', () => {
  test('finds stale locks and too many packs', async () => {
    await using place = await openPlace()
    await using repository = await testRepository()
    await repository.commit(SOUND)
    await repository.git('repack', '--quiet', '-a', '-d')
    const packs = join(repository.gitDir, 'objects/pack')
    const names = (await readdir(packs)).filter((name) => /\.(pack|idx)$/.test(name))
    const copies = Array.from({ length: 200 }, (_, index) =>
      names.map((name) =>
        copyFile(join(packs, name), join(packs, name.replace('pack-', `pack-${index}`))),
      ),
    )
    await Promise.all(copies.flat())
    const old = join(repository.gitDir, 'refs/heads/main.lock')
    for (const lock of [old, join(repository.gitDir, 'index.lock')]) await writeFile(lock, '')
    await utimes(old, 1_700_000_000, 1_700_000_000)
    const found = await examine(place, { BELFRY_REPO: repository.path })
    expect(found.code).toBe(0)
    const [, packed, locked, ...rest] = found.about('git')
    expect(packed).toMatch(/^warning the repository \S+ has 201 packs/)
    expect(locked).toMatch(/^warning .*main\.lock is \d+ minutes old/)
    expect(rest).toEqual(['ok main says what environments there are'])
    const fixes = found.findings.filter(({ about, fix }) => about === 'git' && fix !== undefined)
    expect(fixes.map(({ fix }) => fix)).toEqual([
      'run `git gc` in it',
      `See that no Git command is running, then remove ${old}`,
    ])
  })

  test('refuses what cannot be read', async () => {
    await using place = await openPlace()
    await using repository = await testRepository()
    const other = join(place.directory, 'sha256')
    await mkdir(other)
    await git(other, 'init', '--quiet', '--object-format=sha256')
    const converted = await examine(place, { BELFRY_REPO: other })
    expect(converted.code).toBe(1)
    expect(converted.about('git')[0]).toMatch(/^problem the repository \S+ uses sha256 object ids/)
    const unborn = await examine(place, { BELFRY_REPO: repository.path })
    expect(unborn.about('git')[1]).toMatch(/^problem no default branch with a commit/)
    await repository.commit({ 'README.md': '' })
    const empty = await examine(place, { BELFRY_REPO: repository.path })
    expect(empty.about('environments')).toEqual(['warning none is declared'])
  })

  test('asks a remote with the credentials, and reads what it declares', async () => {
    await using place = await openPlace()
    await using served = await serveRepository(SOUND)
    const { server } = served
    server.credentials = { username: 'ada', password: 'p4ss-of-ada' }
    const env = { BELFRY_REPO: server.url, BELFRY_GIT_USERNAME: 'ada' }
    const right = await examine(place, { ...env, BELFRY_GIT_PASSWORD: 'p4ss-of-ada' })
    expect(right.about('git')).toEqual([
      `ok ${server.url} lets us in: 1 branch, HEAD is main`,
      'ok main says what environments there are',
    ])
    expect(right.about('environments')).toEqual(['ok production follows main; its file is valid'])
    const wrong = await examine(place, { ...env, BELFRY_GIT_PASSWORD: 'p4ss-of-nobody' })
    expect(wrong.code).toBe(1)
    expect(wrong.about('git')[0]).toMatch(/^problem .* refuses the credentials/)
    const gone = await examine(place, { BELFRY_REPO: `http://127.0.0.1:${await freePort()}/x.git` })
    expect(gone.about('git')[0]).toMatch(/^problem .* cannot be read/)
    expect(right.out + wrong.out + gone.out).not.toContain('p4ss-of')
    expect(await readdir(place.directory)).toEqual([])
  })
})

describe('doctor, of environments', () => {
  test('names the secrets that are not there, and the variable to set', async () => {
    await using place = await openPlace()
    await using repository = await testRepository()
    await repository.commit({ 'environments/production.yaml': mailer(25) })
    const { BELFRY_SECRET_PRODUCTION__MAIL_PASSWORD: _, ...others } = SECRETS
    const found = await examine(place, { ...others, BELFRY_REPO: repository.path })
    expect(found.code).toBe(1)
    expect(found.about('secrets')).toEqual([
      'ok production has CRM_TOKEN',
      'ok production has MAIL_HOST',
      expect.stringMatching(/^problem main: environments\/production.yaml:7:\d+ .*"MAIL_PASSWORD"/),
    ])
    const missing = found.findings.find(({ state }) => state === 'problem')
    expect(missing?.fix).toMatch(/^Set BELFRY_SECRET_PRODUCTION__MAIL_PASSWORD/)
    expect(found.out).not.toContain('the-token-of-the-crm')
  })

  test('finds a mail server that is closed to us, or that is not there', async () => {
    await using place = await openPlace()
    await using repository = await testRepository()
    const port = await freePort()
    await repository.commit({ 'environments/production.yaml': mailer(port) })
    const env = { ...SECRETS, BELFRY_REPO: repository.path }
    const closed = await examine(place, env)
    expect(closed.code).toBe(1)
    expect(closed.about('providers')[0]).toMatch(/^problem production\/email.*not a public address/)
    const absent = await examine(place, { ...env, BELFRY_ALLOWED_TARGETS: '127.0.0.1' })
    expect(absent.about('providers')[0]).toMatch(/^problem production\/email.*cannot be reached/)
  })

  test('shows where providers report to, and what a channel lacks for it', () => {
    const channels = [
      aChannel({
        key: 'mail' as never,
        type: 'email',
        provider: 'resend',
        settings: { webhook_secret: 'x' },
      }),
      aChannel({ key: 'bare' as never, type: 'email', provider: 'resend' }),
      aChannel({
        key: 'sms' as never,
        type: 'sms',
        provider: 'twilio',
        settings: { auth_token: 'x' },
      }),
      aChannel({ key: 'trial' as never, type: 'email', provider: 'resend', sandbox: true }),
      aChannel({ key: 'feed' as never, type: 'in_app', provider: 'in_app' }),
    ]
    const publicUrl = 'https://belfry.example.com'
    const said = (config: { readonly publicUrl: string | undefined }) =>
      checkReports(config, production, channels).map(({ state, message }) => `${state} ${message}`)
    const hook = `${publicUrl}/hooks/channels/production`
    expect(said({ publicUrl })).toEqual([
      `ok production/mail (resend) takes reports at ${hook}/mail`,
      `ok production/bare (resend) takes no reports: it lacks webhook_secret; they go to ${hook}/bare`,
      `ok production/sms (twilio) takes reports at ${hook}/sms`,
    ])
    for (const closed of [undefined, 'http://localhost:4747', 'http://[::1]:4747']) {
      expect(said({ publicUrl: closed })).toEqual([
        'warning production/mail (resend) takes reports, and nobody can come here with them',
        'ok production/bare (resend) takes no reports: it lacks webhook_secret',
        'warning production/sms (twilio) takes reports, and nobody can come here with them',
      ])
    }
  })

  test('finds a branch that is not there, a provider that does not exist, and a broken file', async () => {
    await using place = await openPlace()
    await using repository = await testRepository()
    await repository.commit({
      'environments/staging.yaml': `{ ref: not-there, ${FEED} }\n`,
      'environments/production.yaml': '{ ref: main }\n',
    })
    const env = { BELFRY_REPO: repository.path }
    const found = await examine(place, env)
    expect(found.about('environments')).toEqual([
      'ok production follows main; its file is valid',
      'warning staging waits for the branch not-there, which is not there',
    ])
    expect(found.about('providers')[0]).toMatch(/^warning production has no channels/)
    await repository.commit({
      'environments/production.yaml':
        '{ ref: main, channels: { a: { type: email, provider: pigeon } } }\n',
    })
    const strange = await examine(place, env)
    expect(strange.about('providers')[0]).toMatch(/^problem main: environments\/production.yaml/)
    await repository.commit({ 'environments/production.yaml': '{ ref: 1 }\n' })
    expect((await examine(place, env)).about('environments')[0]).toMatch(/^problem main: /)
  })

  test('takes the mode of the server that runs here', async () => {
    await using place = await openPlace()
    await using made = await testRepository()
    await made.commit({ 'environments/development.yaml': '{}\n' })
    const waits = expect.stringContaining('development waits for the branch development')
    const at = async () => (await examine(place, { BELFRY_REPO: made.path })).about('environments')
    expect(await at()).toContainEqual(waits)
    const server = { url: 'http://127.0.0.1:9', pid: process.pid, started_at: '2026-03-01' }
    const forget = noteServer(place.directory, { ...server, dev: true })
    expect(await at()).not.toContainEqual(waits)
    forget()
  })

  test('reads development from the working tree in development mode', async () => {
    await using place = await openPlace()
    await using repository = await testRepository()
    await repository.write({
      'environments/development.yaml': '{ variables: { a: { secret: NOT_THERE } } }\n',
    })
    const env = { BELFRY_REPO: repository.path, BELFRY_DEV: 'on' }
    const found = await examine(place, env)
    expect(found.about('secrets')[0]).toMatch(/^problem the working tree: .*NOT_THERE/)
    expect(found.about('git')[1]).toMatch(/^warning no default branch/)
  })
})

describe('doctor, of the machine', () => {
  test('knows which Node it needs', () => {
    expect(checkNode('22.19.0')).toMatchObject({ state: 'problem', fix: 'Install Node 24.' })
    expect(checkNode('24.0.0').state).toBe('ok')
  })

  test('sees a data directory that is full or cannot be used', async () => {
    await using place = await openPlace()
    const file = join(place.directory, 'file')
    await writeFile(file, '', { mode: 0o600 })
    expect((await checkDisk(join(file, 'data'))).state).toBe('problem')
    expect((await checkDisk(join(place.directory, 'not/yet'))).state).not.toBe('problem')
    expect(judgeRoom('/x', 1024 ** 2).state).toBe('problem')
    expect(judgeRoom('/x', 512 * 1024 ** 2).state).toBe('warning')
    expect(judgeRoom('/x', 2 * 1024 ** 3)).toMatchObject({ state: 'ok' })
  })

  test('sees how many files may be watched, and that a watch which is not waited for sees nothing', async () => {
    await using place = await openPlace()
    const limits = async (watches: number, instances: number) => {
      await writeFile(join(place.directory, 'max_user_watches'), `${watches}\n`)
      await writeFile(join(place.directory, 'max_user_instances'), `${instances}\n`)
      return (await checkWatchLimits(place.directory)).state
    }
    expect(await limits(100, 128)).toBe('warning')
    expect(await limits(65_536, 8)).toBe('warning')
    expect(await limits(65_536, 128)).toBe('ok')
    expect((await checkWatchLimits('/nowhere')).state).toBe('ok')
    const impatient = await checkWatch(place.directory, { pollSeconds: 7, patienceMs: 0 })
    expect(impatient).toMatchObject({ state: 'warning' })
    expect(impatient.message).toContain('looking each 7 s')
  })
})
