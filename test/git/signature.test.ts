import { execFile } from 'node:child_process'
import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, afterAll, describe, expect, test } from 'vitest'
import { openRepository } from '../../src/git/repository.ts'
import { splitSignature, verifyCommit } from '../../src/git/signature.ts'
import { parseSigners } from '../../src/git/signature-signers.ts'
import type { Signers } from '../../src/git/signature-signers.ts'
import type { Revision } from '../../src/ids.ts'
import { temporaryDirectory, testRepository } from '../support/repository.ts'
import type { TestRepository } from '../support/repository.ts'

const run = promisify(execFile)
const NOBODY: Signers = { ssh: [], openPgp: [] }

let keys = ''
let made: TestRepository

/** Makes an SSH key, and answers its public half as a line has it. */
async function sshKey(name: string, ...type: readonly string[]): Promise<string> {
  await run('ssh-keygen', ['-q', '-N', '', '-C', '', '-t', ...type, '-f', join(keys, name)])
  return (await readFile(join(keys, `${name}.pub`), 'utf8')).trim()
}

/** A GnuPG home with a signing key, and a program for Git that uses it. Its times can be made up. */
async function gpgHome(
  name: string,
): Promise<(time: string, ...args: string[]) => Promise<string>> {
  const home = join(keys, name)
  await mkdir(home, { mode: 0o700 })
  const program = join(keys, `${name}.sh`)
  await writeFile(program, `#!/bin/sh\nexec gpg --homedir ${home} --batch --quiet "$@"\n`)
  await chmod(program, 0o755)
  return async (time, ...args) => {
    const faked = ['--faked-system-time', time, '--pinentry-mode', 'loopback', '--passphrase', '']
    return (await run(program, [...faked, ...args])).stdout
  }
}

beforeAll(async () => {
  keys = await temporaryDirectory()
  made = await testRepository()
})

afterAll(async () => {
  for (const name of ['ada', 'late', 'bob', 'brief']) {
    // A home that a test did not come to has no agent.
    await run('gpgconf', ['--homedir', join(keys, name), '--kill', 'all']).catch(() => {})
  }
  await rm(keys, { recursive: true, force: true })
  await made[Symbol.asyncDispose]()
})

async function signWithSsh(name: string): Promise<void> {
  await made.git('config', 'gpg.format', 'ssh')
  await made.git('config', 'user.signingkey', join(keys, name))
}

async function signWithGpg(home: string, id: string): Promise<void> {
  await made.git('config', 'gpg.format', 'openpgp')
  await made.git('config', 'gpg.program', join(keys, `${home}.sh`))
  await made.git('config', 'user.signingkey', id)
}

async function signed(...args: readonly string[]): Promise<Revision> {
  await made.git('commit', '--quiet', '--allow-empty', '--gpg-sign', '--message', 'Change', ...args)
  return (await made.git('rev-parse', 'HEAD')) as Revision
}

/** Lets Git allow what we allow. */
async function allow(text: string): Promise<Signers> {
  const path = join(keys, 'allowed_signers')
  await writeFile(path, text)
  await made.git('config', 'gpg.ssh.allowedSignersFile', path)
  return parseSigners(path, text)
}

/** Our verdict, after checking that `git verify-commit` comes to the same. */
async function verdict(id: string, signers: Signers) {
  const repository = await openRepository(made.path)
  const ours = await verifyCommit(await repository.commit(id as Revision), signers)
  const gits = await made.git('verify-commit', id).then(
    () => 'good',
    () => 'bad',
  )
  expect(ours.kind).toBe(gits)
  return ours
}

/** Stores a commit object with these bytes. */
async function stored(bytes: Uint8Array): Promise<string> {
  const path = join(keys, 'object')
  await writeFile(path, bytes)
  return made.git('hash-object', '-t', 'commit', '-w', '--literally', path)
}

async function raw(id: string): Promise<Buffer> {
  const commit = await (await openRepository(made.path)).commit(id as Revision)
  return Buffer.from(commit.bytes)
}

describe('an SSH signature', () => {
  test.each([
    ['ed25519', ['ed25519']],
    ['ecdsa-256', ['ecdsa', '-b', '256']],
    ['ecdsa-384', ['ecdsa', '-b', '384']],
    ['ecdsa-521', ['ecdsa', '-b', '521']],
    ['rsa', ['rsa', '-b', '2048']],
  ])('of %s counts for the one whose key it is', async (name, type) => {
    const signers = await allow(`ada@example.com ${await sshKey(name, ...type)}\n`)
    await signWithSsh(name)
    // ECDSA numbers differ in length by chance.
    for (let round = 0; round < (name.startsWith('ecdsa') ? 12 : 1); round += 1) {
      expect(await verdict(await signed(), signers)).toEqual({
        kind: 'good',
        signer: 'ada@example.com',
      })
    }
  })

  test('counts with either hash', async () => {
    const key = await sshKey('rsa-hashes', 'rsa', '-b', '2048')
    const signers = await allow(`ada@example.com ${key}\n`)
    const unsigned = await raw(await made.commit({}, 'Nothing'))
    const by = async (option: string) => {
      const file = join(keys, 'payload')
      await writeFile(file, unsigned)
      await rm(`${file}.sig`, { force: true })
      const sign = ['-Y', 'sign', '-n', 'git', '-O', option, '-f', join(keys, 'rsa-hashes'), file]
      await run('ssh-keygen', sign)
      return stored(withSignature(unsigned, await readFile(`${file}.sig`, 'utf8')))
    }
    expect(await verdict(await by('hashalg=sha256'), signers)).toMatchObject({ kind: 'good' })
    expect(await verdict(await by('hashalg=sha512'), signers)).toMatchObject({ kind: 'good' })
  })

  test('does not count where one byte of the commit is another one', async () => {
    const signers = await allow(`ada@example.com ${await sshKey('tampered', 'ed25519')}\n`)
    await signWithSsh('tampered')
    const id = await signed()
    const bytes = await raw(id)
    bytes[bytes.length - 2] = (bytes.at(-2) ?? 0) ^ 1
    expect(await verdict(await stored(bytes), signers)).toMatchObject({ fault: 'tampered' })
  })

  test('does not count where it was made for something else, or its key is not for Git', async () => {
    const key = await sshKey('elsewhere', 'ed25519')
    const signers = await allow(`ada@example.com ${key}\n`)
    const unsigned = await raw(await made.commit({}, 'Nothing'))
    const file = join(keys, 'payload')
    await writeFile(file, unsigned)
    await rm(`${file}.sig`, { force: true })
    await run('ssh-keygen', ['-Y', 'sign', '-n', 'file', '-f', join(keys, 'elsewhere'), file])
    const id = await stored(withSignature(unsigned, await readFile(`${file}.sig`, 'utf8')))
    expect(await verdict(id, signers)).toMatchObject({
      fault: 'wrong_namespace',
      message: 'it was signed for "file" and not for "git"',
    })
    await signWithSsh('elsewhere')
    const own = await signed()
    const other = await allow(`ada@example.com namespaces="file,e*" ${key}\n`)
    expect(await verdict(own, other)).toMatchObject({ fault: 'wrong_namespace' })
    const both = await allow(`ada@example.com namespaces="file,g?t" ${key}\n`)
    expect(await verdict(own, both)).toMatchObject({ kind: 'good' })
    const denied = await allow(`ada@example.com namespaces="!git,*" ${key}\n`)
    expect(await verdict(own, denied)).toMatchObject({ fault: 'wrong_namespace' })
  })

  test('counts while its key is valid, by the time of the commit', async () => {
    const key = await sshKey('timed', 'ed25519')
    await signWithSsh('timed')
    const id = await signed()
    const at = async (options: string) =>
      verdict(id, await allow(`ada@example.com ${options} ${key}\n`))
    expect(await at('valid-after="20250101Z",valid-before="20270101Z"')).toMatchObject({
      kind: 'good',
    })
    expect(await at('valid-before="20251231235959Z"')).toMatchObject({
      fault: 'expired_key',
      message: expect.stringMatching(
        /^the key of ada@example\.com was not valid at 2026-01-01T00:/,
      ) as string,
    })
    expect(await at('valid-after="202701010000"')).toMatchObject({ fault: 'expired_key' })
    // A second line for the same key may be the valid one.
    const twice = `ada@example.com valid-before="20250101" ${key}\nold@example.com ${key}\n`
    expect(await verdict(id, await allow(twice))).toMatchObject({ kind: 'good' })
  })

  test('of an unknown key, of no key at all, or cut short does not count', async () => {
    const key = await sshKey('known', 'ed25519')
    const signers = await allow(`ada@example.com ${key}\n`)
    await sshKey('unknown', 'ed25519')
    await signWithSsh('unknown')
    const id = await signed()
    expect(await verdict(id, signers)).toMatchObject({
      fault: 'unknown_key',
      message: expect.stringContaining('SHA256:') as string,
    })
    const plain = await made.commit({}, 'Nothing')
    expect(await verdict(plain, signers)).toEqual({
      kind: 'bad',
      fault: 'unsigned',
      message: 'it has no signature',
    })
    const { payload, signature } = splitSignature(await raw(id))
    const lines = (signature ?? '').split('\n')
    const cut = [lines[0], ...lines.slice(2)].join('\n')
    expect(await verdict(await stored(withSignature(payload, cut)), signers)).toMatchObject({
      fault: 'malformed',
    })
  })

  test('is over the exact bytes: CRLF, latin-1, line breaks at the end, and lines like headers', async () => {
    const signers = await allow(`ada@example.com ${await sshKey('exact', 'ed25519')}\n`)
    await signWithSsh('exact')
    const messages = [
      'Subject\r\n\r\nBody with CRLF\r\n',
      'Subject\n\nBody\n\n\n\n',
      'Subject\n\ngpgsig not a header\n indented\n\ngpgsig-sha256 neither\n',
      '',
    ].map((text) => Buffer.from(text))
    for (const message of [...messages, Buffer.from('Grüße\n', 'latin1')]) {
      const file = join(keys, 'message')
      await writeFile(file, message)
      const args = ['--cleanup=verbatim', '--allow-empty-message', '--file', file]
      const encoding = ['-c', 'i18n.commitEncoding=ISO-8859-1']
      await made.git(...encoding, 'commit', '--quiet', '--allow-empty', '--gpg-sign', ...args)
      expect(await verdict(await made.git('rev-parse', 'HEAD'), signers)).toMatchObject({
        kind: 'good',
      })
    }
  })

  test('leaves out the header of the other kind of ids', async () => {
    const signers = await allow(`ada@example.com ${await sshKey('both', 'ed25519')}\n`)
    await signWithSsh('both')
    const bytes = await raw(await signed())
    const end = bytes.indexOf('\n\n')
    const other = Buffer.from('\ngpgsig-sha256 -----BEGIN\n more\n -----END')
    const id = await stored(Buffer.concat([bytes.subarray(0, end), other, bytes.subarray(end)]))
    expect(await verdict(id, signers)).toMatchObject({ kind: 'good' })
  })
})

describe('an OpenPGP signature', () => {
  test('counts for a listed key, and for what it is over', async () => {
    const gpg = await gpgHome('ada')
    await gpg('20260101T000000', '--quick-generate-key', 'Ada <ada@example.com>', 'ed25519', 'sign')
    const armored = await gpg('20260101T000000', '--armor', '--export')
    const signers = parseSigners('keys.asc', armored)
    await signWithGpg('ada', 'ada@example.com')
    const id = await signed()
    expect(await verdict(id, signers)).toEqual({ kind: 'good', signer: 'Ada <ada@example.com>' })
    const bytes = await raw(id)
    bytes[bytes.length - 2] = (bytes.at(-2) ?? 0) ^ 1
    expect(await verdict(await stored(bytes), signers)).toMatchObject({ fault: 'tampered' })
    const repository = await openRepository(made.path)
    expect(await verifyCommit(await repository.commit(id), NOBODY)).toMatchObject({
      fault: 'unknown_key',
    })
  })

  test('counts as it did when it was made, although GnuPG calls it expired by now', async () => {
    const gpg = await gpgHome('brief')
    const at = '20260101T000000'
    await gpg(at, '--quick-generate-key', 'Brief <brief@example.com>', 'ed25519', 'sign')
    const signers = parseSigners('keys.asc', await gpg(at, '--armor', '--export'))
    await signWithGpg('brief', 'brief@example.com')
    const program = join(keys, 'then.sh')
    const options = `--faked-system-time ${at} --default-sig-expire 1d`
    await writeFile(program, `#!/bin/sh\nexec ${join(keys, 'brief.sh')} ${options} "$@"\n`)
    await chmod(program, 0o755)
    await made.git('config', 'gpg.program', program)
    const id = await signed()
    await made.git('config', 'gpg.program', join(keys, 'brief.sh'))
    await expect(made.git('verify-commit', id)).rejects.toThrow('verify-commit')
    const commit = await (await openRepository(made.path)).commit(id)
    expect(await verifyCommit(commit, signers)).toMatchObject({ kind: 'good' })
  })

  test('counts for a key below a listed one, until that is revoked', async () => {
    const gpg = await gpgHome('bob')
    const at = '20260101T000000'
    await gpg(at, '--quick-generate-key', 'Bob <bob@example.com>', 'ed25519', 'cert')
    const [, key = ''] =
      /^fpr:+([0-9A-F]+):/m.exec(await gpg(at, '--with-colons', '--list-keys')) ?? []
    await gpg(at, '--quick-add-key', key, 'ed25519', 'sign')
    const own = await gpg(at, '--armor', '--export')
    await signWithGpg('bob', 'bob@example.com')
    const id = await signed()
    expect(await verdict(id, parseSigners('keys.asc', own))).toEqual({
      kind: 'good',
      signer: 'Bob <bob@example.com>',
    })
    // GnuPG keeps a revocation for each key, with a colon that keeps it from being used by mistake.
    const kept = await readFile(join(keys, 'bob', 'openpgp-revocs.d', `${key}.rev`), 'utf8')
    await writeFile(join(keys, 'bob.rev'), kept.replace(/^:-----BEGIN/m, '-----BEGIN'))
    await gpg('20260102T000000', '--import', join(keys, 'bob.rev'))
    const revoked = parseSigners('keys.asc', await gpg('20260102T000000', '--armor', '--export'))
    expect(await verdict(id, revoked)).toMatchObject({ fault: 'expired_key' })
  })

  test('of a key that had expired does not count', async () => {
    const gpg = await gpgHome('late')
    await gpg(
      '20260101T000000',
      '--quick-generate-key',
      'Late <late@example.com>',
      'rsa2048',
      'sign',
    )
    await signWithGpg('late', 'late@example.com')
    const id = await signed()
    const [, key = ''] =
      /^fpr:+([0-9A-F]+):/m.exec(await gpg('20260101T000000', '--with-colons', '--list-keys')) ?? []
    await gpg('20260102T000000', '--quick-set-expire', key, '20260201T000000')
    const signers = parseSigners('keys.asc', await gpg('20260102T000000', '--armor', '--export'))
    expect(await verdict(id, signers)).toMatchObject({
      fault: 'expired_key',
      message: expect.stringContaining('Late <late@example.com> was not valid at ') as string,
    })
  })
})

describe('the list of signers', () => {
  const key = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8ZNzS8h5m0bq9kYzPzJzY6P3P0V4dX8n2m5m0bq9kY'

  test('may hold comments, quoted principals and several options', () => {
    const text = `# who\n\n"ada@example.com,bob@example.com" namespaces="git",valid-after="20260101Z" ${key} laptop\n`
    expect(parseSigners('signers', text).ssh).toMatchObject([
      {
        principals: 'ada@example.com,bob@example.com',
        namespaces: ['git'],
        validAfter: 1_767_225_600,
        validBefore: null,
      },
    ])
  })

  test.each([
    [`ada@example.com cert-authority ${key}`, 'cert-authority is not supported'],
    [`ada@example.com namspaces="git" ${key}`, 'unknown option "namspaces'],
    [`ada@example.com valid-after="tomorrow" ${key}`, 'has a time "tomorrow"'],
    [`ada@example.com valid-after="20261301" ${key}`, 'has a time "20261301"'],
    ['ada@example.com', 'is not "<who> [options]'],
    ['ada@example.com ssh-ed25519 AAAA', 'a key that is broken'],
    [`ada@example.com sk-${key}`, 'sk-ssh-ed25519 are not supported'],
  ])('names the line of a mistake: %s', (line, says) => {
    expect(() => parseSigners('/etc/signers', `# first\n${line}\n`)).toThrow(/^\/etc\/signers:2 /)
    expect(() => parseSigners('/etc/signers', line)).toThrow(says)
  })
})

/** A commit with a signature put in behind its headers. */
function withSignature(bytes: Buffer, signature: string): Buffer {
  const end = bytes.indexOf('\n\n')
  const header = `\ngpgsig ${signature.trimEnd().replaceAll('\n', '\n ')}`
  return Buffer.concat([bytes.subarray(0, end), Buffer.from(header), bytes.subarray(end)])
}
