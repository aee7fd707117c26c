import { createHmac, createSign } from 'node:crypto'
import { expect, test } from 'vitest'
import { createPublicKey } from 'node:crypto'
import { readUserToken } from '../../src/api/user-token.ts'
import { RequestError } from '../../src/errors.ts'
import { makeKeys, signToken, writeToken } from '../support/client-keys.ts'

const now = new Date('2026-03-01T12:00:00Z')
const seconds = now.getTime() / 1000
const own = makeKeys()
const other = makeKeys()
const keys = [own, other].map(({ pem }) => createPublicKey(pem))
const first = keys.slice(0, 1)

const good = { sub: 'ann', iat: seconds, exp: seconds + 3600 }
const rs256 = (text: string) => createSign('RSA-SHA256').update(text).sign(own.privateKey)

function codeOf(token: string): string | undefined {
  try {
    readUserToken(token, first, now)
    return undefined
  } catch (error) {
    if (error instanceof RequestError) return `${error.status} ${error.code}: ${error.message}`
    throw error
  }
}

test('a token names its user until it expires', () => {
  const read = readUserToken(signToken(own, now, { sub: 'ann' }), first, now)
  expect(read).toEqual({
    user: 'ann',
    expiresAt: new Date('2026-03-01T13:00:00Z'),
    grants: new Map(),
  })
})

test('any key of the environment may have signed it', () => {
  expect(readUserToken(signToken(other, now, { sub: 'bo' }), keys, now).user).toBe('bo')
})

test('grants are of an entity, whatever host stands before it', () => {
  const grants = {
    'https://api.example.com/v1/objects/teams/core': { 'channel_data/read': [{}] },
    '/v1/users/bo': { 'user/feed_read': [], 'preferences/read': [] },
    'https://api.example.com': 'nonsense',
  }
  const read = readUserToken(signToken(own, now, { sub: 'ann', grants }), first, now)
  expect(read.grants).toEqual(
    new Map([
      ['/v1/objects/teams/core', new Set(['channel_data/read'])],
      ['/v1/users/bo', new Set(['user/feed_read', 'preferences/read'])],
      ['', new Set()],
    ]),
  )
})

const hs256 = (secret: string) => (text: string) =>
  createHmac('sha256', secret).update(text).digest()
const signed = signToken(own, now, { sub: 'ann' })
const [head = '', body = '', tail = ''] = signed.split('.')
const foreign = Buffer.from(JSON.stringify({ ...good, sub: 'bo' })).toString('base64url')

test.each<readonly [what: string, token: string, why: string]>([
  ['of another key', signToken(other, now, { sub: 'ann' }), 'is signed by no key'],
  ['without a signature', writeToken({ alg: 'none' }, good, () => ''), 'not signed with RS256'],
  ['of "None"', writeToken({ alg: 'None' }, good, () => ''), 'not signed with RS256'],
  ['of RS256 that nobody signed', writeToken({ alg: 'RS256' }, good, () => ''), 'by no key'],
  [
    'whose secret is the public key',
    writeToken({ alg: 'HS256' }, good, hs256(own.pem)),
    'not signed with RS256',
  ],
  [
    'of RS256 that is HS256',
    writeToken({ alg: 'RS256' }, good, hs256(own.pem)),
    'is signed by no key',
  ],
  [
    'of another hash',
    writeToken({ alg: 'RS512' }, good, (text) =>
      createSign('RSA-SHA512').update(text).sign(own.privateKey),
    ),
    'not signed with RS256',
  ],
  ['without an algorithm', writeToken({}, good, rs256), 'not signed with RS256'],
  [
    'with a rule that nobody knows',
    writeToken({ alg: 'RS256', crit: ['x'] }, good, rs256),
    'not signed with RS256',
  ],
  ['that has expired', signToken(own, now, { sub: 'ann', exp: seconds }), 'has expired'],
  ['that never expires', signToken(own, now, { sub: 'ann', exp: undefined }), 'never expires'],
  ['that expires at a text', signToken(own, now, { sub: 'ann', exp: '9e9' }), 'never expires'],
  ['that expires never to be', signToken(own, now, { sub: 'ann', exp: 1e300 }), 'has expired'],
  ['from the future', signToken(own, now, { sub: 'ann', iat: seconds + 61 }), 'not valid yet'],
  ['that begins later', signToken(own, now, { sub: 'ann', nbf: seconds + 61 }), 'not valid yet'],
  ['from a time that is none', signToken(own, now, { sub: 'ann', nbf: 'x' }), 'no number'],
  ['of nobody', signToken(own, now, {}), 'names no user'],
  ['of an empty name', signToken(own, now, { sub: '' }), 'names no user'],
  ['of a list', signToken(own, now, { sub: ['ann'] }), 'names no user'],
  ['with other claims than were signed', `${head}.${foreign}.${tail}`, 'is signed by no key'],
  ['with something behind it', `${signed}.${tail}`, 'no signed token'],
  ['with a line end', `${signed}\n`, 'no signed token'],
  ['with padding', `${head}.${body}=.${tail}`, 'is signed by no key'],
  ['in three words', 'a.b.c', 'no signed token'],
  ['of nothing', '', 'no signed token'],
  ['of a megabyte', 'a'.repeat(1_000_000), 'no signed token'],
  ['of a list in its place', `${Buffer.from('[]').toString('base64url')}.x.y`, 'no signed token'],
])('a token %s is refused', (_what, token, why) => {
  expect(codeOf(token)).toMatch(new RegExp(`^401 invalid_user_token: .*${why}`))
})

test('a clock that is a little ahead signs well', () => {
  expect(codeOf(signToken(own, now, { sub: 'ann', iat: seconds + 59 }))).toBeUndefined()
})
