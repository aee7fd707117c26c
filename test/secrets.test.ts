import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { openSecrets } from '../src/secrets.ts'

const none = { values: new Map<string, string>(), directory: undefined, shared: [] }

function withValues(values: Record<string, string>, shared: string[] = []) {
  return openSecrets({ ...none, values: new Map(Object.entries(values)), shared })
}

function directory(files: Record<string, string>): string {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'belfry-secrets-'))
  onTestFinished(() => fs.rmSync(root, { recursive: true }))
  for (const [name, text] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(root, name)), { recursive: true })
    fs.writeFileSync(path.join(root, name), text)
  }
  return root
}

describe('find', () => {
  test('reads a variable of the environment itself', () => {
    const secrets = withValues({ EU_PROD__TOKEN: 'mine', OTHER__TOKEN: 'theirs' })
    expect(secrets.find('eu-prod', 'TOKEN')).toBe('mine')
    expect(secrets.find('staging', 'TOKEN')).toBeUndefined()
  })

  test('reads a common variable only when its name is shared', () => {
    const values = { TOKEN: 'common', HIDDEN: 'no', EU__TOKEN: 'own' }
    const secrets = withValues(values, ['TOKEN'])
    expect(secrets.find('staging', 'TOKEN')).toBe('common')
    expect(secrets.find('eu', 'TOKEN')).toBe('own')
    expect(secrets.find('staging', 'HIDDEN')).toBeUndefined()
  })

  test('does not reach into another environment by a name with two underscores', () => {
    const secrets = withValues({ EU__PROD__TOKEN: 'production' }, ['EU__PROD__TOKEN'])
    expect(secrets.find('eu', 'PROD__TOKEN')).toBeUndefined()
    expect(secrets.find('eu__prod', 'TOKEN')).toBe('production')
  })

  test('reads a file of the environment, without its final line break', () => {
    const root = directory({ 'eu-prod/TOKEN': 'line\n', 'eu-prod/EMPTY': '\n' })
    const secrets = openSecrets({ ...none, directory: root })
    expect(secrets.find('eu-prod', 'TOKEN')).toBe('line')
    expect(secrets.find('eu-prod', 'EMPTY')).toBeUndefined()
    expect(secrets.find('eu-prod', 'MISSING')).toBeUndefined()
    expect(openSecrets({ ...none, directory: '/nowhere' }).find('eu-prod', 'TOKEN')).toBeUndefined()
  })

  test('reads no file outside the environment, by name or by link', () => {
    const root = directory({
      'dev/TOKEN': 'dev',
      'prod/TOKEN': 'prod',
      SECRET: 'root',
      'prod/sub/X': '',
    })
    const outside = directory({ TOKEN: 'outside' })
    fs.symlinkSync(path.join(root, 'prod/TOKEN'), path.join(root, 'dev/LINK'))
    fs.symlinkSync(outside, path.join(root, 'linked'))
    const secrets = openSecrets({ ...none, directory: root })
    expect(secrets.find('dev', 'TOKEN')).toBe('dev')
    expect(secrets.find('dev', 'LINK')).toBeUndefined()
    expect(secrets.find('linked', 'TOKEN')).toBeUndefined()
    expect(secrets.find('..', 'SECRET')).toBeUndefined()
    expect(secrets.find('dev', '../prod/TOKEN')).toBeUndefined()
    expect(secrets.find('prod', 'sub')).toBeUndefined()
  })

  test('follows links that stay inside the environment', () => {
    const root = directory({ 'prod/..data/TOKEN': 'mounted' })
    fs.symlinkSync('..data/TOKEN', path.join(root, 'prod/TOKEN'))
    expect(openSecrets({ ...none, directory: root }).find('prod', 'TOKEN')).toBe('mounted')
  })
})

describe('mask', () => {
  test.each<[string, string]>([
    ['as it is', 'key is p@ss wörd/+?, ok'],
    ['in an address', `https://example.com/?k=${encodeURIComponent('p@ss wörd/+?')}&x=1`],
    ['in base64', Buffer.from('p@ss wörd/+?').toString('base64')],
    ['behind one character in base64', Buffer.from('u:p@ss wörd/+?').toString('base64')],
    ['behind two characters in base64', Buffer.from('us:p@ss wörd/+?x').toString('base64')],
    ['behind three characters in base64url', Buffer.from('usr:p@ss wörd/+?').toString('base64url')],
  ])('hides a secret %s', (_form, text) => {
    const masked = withValues({ A__B: 'p@ss wörd/+?' }).mask(text)
    expect(masked).toContain('***')
    for (const part of ['wörd', 'w%C3%B6rd']) expect(masked).not.toContain(part)
    const decoded = Buffer.from(masked, 'base64').toString()
    expect(decoded).not.toContain('p@ss')
  })

  test('hides a secret inside a JSON string', () => {
    const secret = 'two\n"lines"'
    expect(withValues({ A__B: secret }).mask(JSON.stringify({ secret }))).toBe('{"secret":"***"}')
  })

  test('hides the whole of a secret that holds another', () => {
    expect(withValues({ A__B: 'abcd', A__C: 'abcdefgh' }).mask('abcdefgh')).toBe('***')
  })

  test('leaves ordinary text alone', () => {
    expect(withValues({ A__B: 'abc' }).mask('abc')).toBe('abc')
    expect(openSecrets(none).mask('any')).toBe('any')
  })

  test('hides keys that are given beside, and files once they were read', () => {
    const root = directory({ 'prod/TOKEN': 'from-file' })
    const secrets = openSecrets({ ...none, directory: root }, ['sk_12345678'])
    expect(secrets.mask('sk_12345678')).toBe('***')
    secrets.find('prod', 'TOKEN')
    expect(secrets.mask('from-file')).toBe('***')
  })
})
