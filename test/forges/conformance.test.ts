import { describe, expect, test } from 'vitest'
import { FORGE_NAMES, type ForgeName } from '../../src/forge-settings.ts'
import { ForgeFailure } from '../../src/forges/failure.ts'
import type { CommitStatus, Forge } from '../../src/forges/forge.ts'
import { forges, openForge } from '../../src/forges/index.ts'
import { testClock } from '../support/clock.ts'
import { STATUSES_MAX } from '../support/fake-forge-speech.ts'
import { failing, FORGE_TOKEN, startForge } from '../support/fake-forge.ts'
import type { FakeForge } from '../support/fake-forge.ts'

const SHA = 'a'.repeat(40)
const CONTEXT = 'belfry/production/applied'
const NOW = new Date('2026-03-01T12:00:00Z')

const STATUS: CommitStatus = {
  sha: SHA,
  context: CONTEXT,
  state: 'success',
  description: 'Live. Grüße "&" <b>',
  gitRef: 'production',
}

interface Opened extends AsyncDisposable {
  readonly fake: FakeForge
  readonly forge: Forge
}

async function open(name: ForgeName): Promise<Opened> {
  await using stack = new AsyncDisposableStack()
  const fake = stack.use(await startForge(name))
  const { forge } = stack.use(openForge(fake.settings, { clock: testClock(NOW.toISOString()) }))
  const opened = stack.move()
  return { fake, forge, [Symbol.asyncDispose]: () => opened.disposeAsync() }
}

async function failureOf(work: Promise<unknown>): Promise<ForgeFailure> {
  const error: unknown = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  if (error instanceof ForgeFailure) return error
  throw new Error('no failure of the forge')
}

test('every forge that can be named is there', () => {
  expect(Object.values(forges).map(({ name }) => name)).toEqual(FORGE_NAMES)
})

describe.each(FORGE_NAMES)('%s', (name) => {
  test('shows the status that was posted last', async () => {
    await using opened = await open(name)
    const { fake, forge } = opened
    expect(await forge.findStatus(SHA, CONTEXT)).toBeUndefined()
    await forge.postStatus({ ...STATUS, state: 'pending', description: 'Being read' })
    await forge.postStatus({ ...STATUS, state: 'failure', description: 'Refused' })
    expect(await forge.findStatus(SHA, CONTEXT)).toEqual({
      state: 'failure',
      description: 'Refused',
    })
    await forge.postStatus({ ...STATUS, targetUrl: 'https://belfry.example.com/' })
    const { state, description } = STATUS
    expect(await forge.findStatus(SHA, CONTEXT)).toEqual({ state, description })
    expect(fake.posts(SHA, CONTEXT).at(-1)).toMatchObject({
      state: 'success',
      description,
      targetUrl: 'https://belfry.example.com/',
    })
    expect(fake.posts(SHA, CONTEXT)[0]?.targetUrl).toBeUndefined()
  })

  test('finds a status among more than a page of others', async () => {
    await using opened = await open(name)
    const { forge } = opened
    for (let index = 0; index < 101; index += 1) {
      await forge.postStatus({ ...STATUS, context: `ci/${index}` })
    }
    await forge.postStatus(STATUS)
    expect(await forge.findStatus(SHA, CONTEXT)).toMatchObject({ state: 'success' })
  })

  test('takes a state that is shown already for done', async () => {
    await using opened = await open(name)
    const { forge } = opened
    await forge.postStatus({ ...STATUS, state: 'pending' })
    await expect(forge.postStatus({ ...STATUS, state: 'pending' })).resolves.toBeUndefined()
  })

  test('writes a comment, finds it by its marker, and edits it in place', async () => {
    await using opened = await open(name)
    const { fake, forge } = opened
    const { number } = fake.addPull({})
    for (let index = 0; index < 101; index += 1)
      await forge.createComment(number, `talk ${index} <!-- mark -->`)
    expect(await forge.findComment(number, '<!-- mark -->')).toBeUndefined()
    const id = await forge.createComment(number, '<!-- mark --> first')
    expect(await forge.findComment(number, '<!-- mark -->')).toEqual({
      id,
      body: '<!-- mark --> first',
    })
    await forge.updateComment(number, id, '<!-- mark --> second')
    const marked = fake.comments.filter(({ body }) => body.startsWith('<!-- mark -->'))
    expect(marked.map(({ body }) => body)).toEqual(['<!-- mark --> second'])
  })

  test('lists every open pull request, with the tip that it stands at', async () => {
    await using opened = await open(name)
    const { fake, forge } = opened
    for (let index = 0; index < 101; index += 1) fake.addPull({ headSha: SHA })
    fake.addPull({ open: false })
    fake.addPull({ base: 'production', head: 'fix/a', headSha: 'b'.repeat(40), from: 'other/fork' })
    const pulls = await forge.listOpenPulls()
    expect(pulls).toHaveLength(102)
    expect(pulls.at(-1)).toEqual({
      number: 103,
      base: 'production',
      head: 'fix/a',
      headSha: 'b'.repeat(40),
    })
  })

  test('opens one pull request between two branches, and rewrites it the second time', async () => {
    await using opened = await open(name)
    const { fake, forge } = opened
    fake.addPull({ base: 'production', head: 'staging', from: 'other/fork', open: false })
    const pull = { base: 'production', head: 'staging', title: 'Promote', body: 'the plan' }
    const made = await forge.openPull(pull)
    expect(made.url).toMatch(/^https:\/\/forge\.example\.com\/.*\/2$/)
    expect(await forge.openPull({ ...pull, body: 'the new plan' })).toEqual(made)
    expect(fake.pulls.filter(({ open: isOpen }) => isOpen)).toEqual([
      expect.objectContaining({ ...pull, body: 'the new plan' }),
    ])
  })

  test.each([
    ['a 429', failing(429, { 'retry-after': '7' }), 'limited', 7_000],
    ['a 403 with Retry-After', failing(403, { 'retry-after': '60' }), 'limited', 60_000],
    [
      'a spent limit',
      failing(403, {
        'x-ratelimit-remaining': '0',
        'x-ratelimit-reset': String(NOW.getTime() / 1000 + 30),
      }),
      'limited',
      30_000,
    ],
    ['a 401', failing(401), 'denied', undefined],
    ['a 403', failing(403, { 'x-ratelimit-remaining': '12' }), 'denied', undefined],
    ['a 404', failing(404), 'refused', undefined],
    ['a 422', failing(422), 'refused', undefined],
    [
      'a redirect',
      failing(302, { location: 'https://elsewhere.example.com/' }),
      'refused',
      undefined,
    ],
    ['a 500', failing(500), 'unavailable', undefined],
    ['a 503 with Retry-After', failing(503, { 'retry-after': '5' }), 'unavailable', 5_000],
  ] as const)('names the kind of failure of %s', async (_, trouble, kind, retryMs) => {
    await using opened = await open(name)
    const { fake, forge } = opened
    fake.trouble = trouble
    expect(await failureOf(forge.postStatus(STATUS))).toMatchObject({ kind, retryMs })
  })

  test('takes a lost answer for trouble that passes', async () => {
    await using opened = await open(name)
    const { fake, forge } = opened
    fake.losses = 1
    expect(await failureOf(forge.postStatus(STATUS))).toMatchObject({ kind: 'unavailable' })
    expect(await forge.findStatus(SHA, CONTEXT)).toMatchObject({ state: 'success' })
  })

  test('has the token in no failure', async () => {
    await using opened = await open(name)
    const { fake, forge } = opened
    fake.trouble = failing(500)
    const { message } = await failureOf(forge.listOpenPulls())
    expect(message).toContain('500')
    expect(message).not.toContain(FORGE_TOKEN)
    expect(message.length).toBeLessThanOrEqual(200)
  })
})

test('GitHub takes so many statuses for a context and no more', async () => {
  await using opened = await open('github')
  const { fake, forge } = opened
  for (let index = 0; index < STATUSES_MAX; index += 1) await forge.postStatus(STATUS)
  const failure = await failureOf(forge.postStatus(STATUS))
  expect(failure).toMatchObject({ kind: 'refused', status: 422 })
  expect(failure.message).toContain('maximum number of statuses')
  expect(fake.posts(SHA, CONTEXT)).toHaveLength(STATUSES_MAX)
})
