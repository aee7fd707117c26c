import { beforeEach, describe, expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import type { Revision } from '../../src/ids.ts'
import { sendNextComment } from '../../src/reconcile/outbox-comments.ts'
import { CLAIM_MS } from '../../src/reconcile/outbox-send.ts'
import type { Outbox } from '../../src/reconcile/outbox-send.ts'
import { lookAtPulls, planPulls } from '../../src/reconcile/pulls.ts'
import type { PullPlan, PullPlanRequest, Pulls } from '../../src/reconcile/pulls.ts'
import { testClock } from '../support/clock.ts'
import { test } from '../support/database.ts'
import { failing } from '../support/fake-forge.ts'
import { clearForge, forgeScene, START } from './forge-scene.ts'
import type { ForgeScene } from './forge-scene.ts'
import { clear } from './scene.ts'

const announcing = { instance: 'belfry' }
const BASE = '1'.repeat(40) as Revision
const OTHER_BASE = '2'.repeat(40) as Revision
const HEAD = 'a'.repeat(40)
const OTHER_HEAD = 'b'.repeat(40)
const PLAN = 'belfry/production/plan'

beforeEach<{ database: Database }>(async ({ database }) => {
  await clear(database)
  await clearForge(database)
  await database.query(sql`
    insert into environments (name, git_ref, declared, state, reason, message, updated_at)
    values ('production', 'main', true, 'ready', 'applied', '', now()),
      ('gone', 'old', false, 'stalled', 'undeclared', '', now())`)
})

interface PullScene extends ForgeScene {
  readonly pulls: Pulls
  /** What is planned, or undefined while it is being made. */
  planned: ((request: PullPlanRequest) => PullPlan | undefined) | undefined
  base: Revision
  /** Looks, and writes all that is due. */
  round(): Promise<void>
  bodies(): readonly string[]
}

async function pullScene(database: Database, clock = testClock(START)): Promise<PullScene> {
  const scene = await forgeScene(database, clock)
  const { forge, place } = scene.outbox
  const made: PullScene = {
    ...scene,
    planned: ({ environment, base, head }) => ({
      state: 'success',
      summary: '1 workflow changes.',
      markdown: `${environment}: plan of ${base.slice(0, 2)} and ${head.slice(0, 2)}`,
    }),
    base: BASE,
    pulls: {
      database,
      clock,
      forge,
      place,
      announcing,
      tip: (branch) => Promise.resolve(branch === 'main' ? made.base : null),
      plan: (request) => Promise.resolve(made.planned?.(request)),
    },
    async round() {
      await look(made.pulls)
      await write(scene.outbox)
      await scene.drain()
    },
    bodies: () => scene.fake.comments.map(({ body }) => body),
  }
  return made
}

/** As a process does that leads. */
async function look(pulls: Pulls): Promise<number> {
  await lookAtPulls(pulls)
  return planPulls(pulls)
}

async function write(outbox: Outbox): Promise<void> {
  while ((await sendNextComment(outbox, announcing)) > 0) continue
}

describe('a pull request against a branch that an environment follows', () => {
  test('has its plan as a status and as one comment', async ({ database }) => {
    await using scene = await pullScene(database)
    scene.fake.addPull({ headSha: HEAD })
    await scene.round()
    await scene.round()
    expect(scene.bodies()).toHaveLength(1)
    expect(scene.bodies()[0]).toMatch(
      /^<!-- belfry:plan belfry -->\n\nproduction: plan of 11 and aa$/,
    )
    expect(scene.posts(HEAD, PLAN)).toEqual(['success 1 workflow changes.'])
  })

  test('is pending while the plan is made', async ({ database }) => {
    await using scene = await pullScene(database)
    scene.fake.addPull({ headSha: HEAD })
    const { planned } = scene
    scene.planned = undefined
    expect(await look(scene.pulls)).toBe(0)
    await scene.round()
    expect(scene.bodies()).toEqual([])
    scene.planned = planned
    await scene.round()
    expect(scene.posts(HEAD, PLAN).map((post) => post.split(' ')[0])).toEqual([
      'pending',
      'success',
    ])
  })

  test('has its comment rewritten in place when its head moves', async ({ database }) => {
    await using scene = await pullScene(database)
    const pull = scene.fake.addPull({ headSha: HEAD })
    await scene.round()
    pull.headSha = OTHER_HEAD
    await scene.round()
    expect(scene.bodies()).toHaveLength(1)
    expect(scene.bodies()[0]).toContain('plan of 11 and bb')
    expect(scene.posts(OTHER_HEAD, PLAN)).toEqual(['success 1 workflow changes.'])
    // Who moves it back may not merge what was planned against another base.
    expect(scene.posts(HEAD, PLAN).at(-1)).toMatch(/^pending The pull request has moved on/)
    pull.headSha = HEAD
    await scene.round()
    expect(scene.posts(HEAD, PLAN).at(-1)).toBe('success 1 workflow changes.')
  })

  test('does not void the plan of another one at the commit that it leaves', async ({
    database,
  }) => {
    await using scene = await pullScene(database)
    const pull = scene.fake.addPull({ headSha: HEAD })
    scene.fake.addPull({ headSha: HEAD })
    await scene.round()
    pull.headSha = OTHER_HEAD
    await scene.round()
    expect(scene.posts(HEAD, PLAN)).toEqual(['success 1 workflow changes.'])
  })

  test('has its plan voided for the environment whose branch it is no more for', async ({
    database,
  }) => {
    await using scene = await pullScene(database)
    await database.query(sql`
      update environments set declared = true where environments.name = 'gone'`)
    const pull = scene.fake.addPull({ headSha: HEAD })
    const { tip } = scene.pulls
    const pulls = { ...scene.pulls, tip: (one: string) => tip(one === 'old' ? 'main' : one) }
    await scene.round()
    pull.base = 'old'
    await look(pulls)
    await look(pulls)
    await scene.drain()
    expect(scene.posts(HEAD, PLAN).at(-1)).toMatch(/^pending/)
    expect(scene.posts(HEAD, 'belfry/gone/plan').at(-1)).toMatch(/^success/)
  })

  test('has its plan voided when its base moves', async ({ database }) => {
    await using scene = await pullScene(database)
    scene.fake.addPull({ headSha: HEAD })
    await scene.round()
    const { planned } = scene
    scene.base = OTHER_BASE
    scene.planned = undefined
    await scene.round()
    scene.planned = (request) => ({ ...planned!(request)!, state: 'failure' })
    await scene.round()
    expect(scene.posts(HEAD, PLAN).map((post) => post.split(' ')[0])).toEqual([
      'success',
      'pending',
      'failure',
    ])
    expect(scene.bodies()).toHaveLength(1)
    expect(scene.bodies()[0]).toContain('plan of 22 and aa')
  })

  test('does not get a plan whose head moved while it was made', async ({ database }) => {
    await using scene = await pullScene(database)
    const pull = scene.fake.addPull({ headSha: HEAD })
    const { planned } = scene
    const request = scene.pulls.plan
    const racing: Pulls = {
      ...scene.pulls,
      async plan(asked) {
        pull.headSha = OTHER_HEAD
        await look({ ...scene.pulls, plan: () => Promise.resolve(undefined) })
        return request(asked)
      },
    }
    await look(racing)
    await write(scene.outbox)
    expect(scene.bodies()).toEqual([])
    scene.planned = planned
    await scene.round()
    expect(scene.bodies()[0]).toContain('plan of 11 and bb')
    expect(scene.posts(HEAD, PLAN).join()).not.toContain('success')
  })

  test('says that it is closed, and is planned anew when it is opened again', async ({
    database,
  }) => {
    await using scene = await pullScene(database)
    const pull = scene.fake.addPull({ headSha: HEAD })
    await scene.round()
    pull.open = false
    await scene.round()
    expect(scene.bodies()).toHaveLength(1)
    expect(scene.bodies()[0]).toContain('The pull request is closed')
    pull.open = true
    await scene.round()
    expect(scene.bodies()).toHaveLength(1)
    expect(scene.bodies()[0]).toContain('plan of 11 and aa')
  })

  test('that closes before it has a plan gets no comment', async ({ database }) => {
    await using scene = await pullScene(database)
    const pull = scene.fake.addPull({ headSha: HEAD })
    scene.planned = undefined
    await scene.round()
    pull.open = false
    await scene.round()
    expect(scene.bodies()).toEqual([])
  })

  test('has a part for each environment', async ({ database }) => {
    await using scene = await pullScene(database)
    await database.query(sql`
      insert into environments (name, git_ref, declared, state, reason, message, updated_at)
      values ('eu', 'main', true, 'ready', 'applied', '', now())`)
    scene.fake.addPull({ headSha: HEAD })
    await scene.round()
    expect(scene.bodies()[0]).toMatch(
      /-->\n\neu: plan of 11 and aa\n\nproduction: plan of 11 and aa$/,
    )
    expect(scene.posts(HEAD, 'belfry/eu/plan')).toHaveLength(1)
    expect(scene.posts(HEAD, PLAN)).toHaveLength(1)
  })

  test('has no more in its comment than a forge takes', async ({ database }) => {
    await using scene = await pullScene(database)
    scene.planned = () => ({
      state: 'success',
      summary: 'x'.repeat(500),
      markdown: '| a row |\n'.repeat(20_000),
    })
    scene.fake.addPull({ headSha: HEAD })
    await scene.round()
    const [body = ''] = scene.bodies()
    expect(body.length).toBeLessThan(65_536)
    expect(body).toContain('| a row |\n\n… and more than fits here.')
  })
})

describe('a pull request of no concern', () => {
  test.for([
    ['against another branch', { base: 'feature' }],
    ['against the branch of an environment that is declared no more', { base: 'old' }],
    ['without a commit', { headSha: '' }],
  ] as const)('is left alone: %s', async ([, pull], { database }) => {
    await using scene = await pullScene(database)
    scene.fake.addPull({ headSha: HEAD, ...pull })
    await scene.round()
    expect(scene.bodies()).toEqual([])
    expect(scene.fake.statuses).toEqual([])
  })
})

describe('the comment', () => {
  test('is found again when that it was written was not noted', async ({ database }) => {
    const clock = testClock(START)
    await using scene = await pullScene(database, clock)
    scene.fake.addPull({ headSha: HEAD })
    await look(scene.pulls)
    scene.fake.losses = 1
    await write(scene.outbox)
    clock.advance(60_000)
    await write(scene.outbox)
    expect(scene.bodies()).toHaveLength(1)
  })

  test('is not doubled by two processes, nor by one that takes over', async ({ database }) => {
    const clock = testClock(START)
    await using scene = await pullScene(database, clock)
    const pull = scene.fake.addPull({ headSha: HEAD })
    await Promise.all([look(scene.pulls), look(scene.pulls)])
    await Promise.all([write(scene.outbox), write(scene.other), write(scene.other)])
    expect(scene.bodies()).toHaveLength(1)
    pull.headSha = OTHER_HEAD
    await look(scene.pulls)
    const { promise: answered, resolve: answer } = Promise.withResolvers<void>()
    const { promise: asked, resolve: ask } = Promise.withResolvers<void>()
    scene.fake.trouble = async () => {
      scene.fake.trouble = undefined
      ask()
      await answered
      return false
    }
    const first = write(scene.outbox)
    await asked
    // Nobody else writes meanwhile, even when there is something newer.
    pull.headSha = 'c'.repeat(40)
    await look(scene.pulls)
    expect(await sendNextComment(scene.other, announcing)).toBe(0)
    clock.advance(CLAIM_MS)
    await write(scene.other)
    expect(scene.bodies()).toEqual([expect.stringContaining('plan of 11 and cc')])
    answer()
    await first
    await write(scene.other)
    expect(scene.bodies()).toEqual([expect.stringContaining('plan of 11 and cc')])
  })

  test('is written anew when somebody has deleted it', async ({ database }) => {
    await using scene = await pullScene(database)
    const pull = scene.fake.addPull({ headSha: HEAD })
    await scene.round()
    ;(scene.fake.comments as unknown[]).length = 0
    pull.headSha = OTHER_HEAD
    await scene.round()
    expect(scene.bodies()).toEqual([expect.stringContaining('plan of 11 and bb')])
  })

  test('is written beside one of somebody else that begins like it', async ({ database }) => {
    await using scene = await pullScene(database)
    const pull = scene.fake.addPull({ headSha: HEAD })
    await scene.outbox.forge.createComment(pull.number, '<!-- belfry:plan belfry --> mine')
    const [theirs] = scene.fake.comments
    scene.fake.trouble = (request, response) =>
      request.path.endsWith(`/${theirs?.id}`) ? failing(403)(request, response) : false
    await scene.round()
    pull.headSha = OTHER_HEAD
    await scene.round()
    expect(scene.bodies()).toEqual([
      '<!-- belfry:plan belfry --> mine',
      expect.stringContaining('plan of 11 and bb'),
    ])
  })

  test('waits as long as the forge asks', async ({ database }) => {
    const clock = testClock(START)
    await using scene = await pullScene(database, clock)
    scene.fake.addPull({ headSha: HEAD })
    await look(scene.pulls)
    scene.fake.trouble = failing(429, { 'retry-after': '60' })
    await write(scene.outbox)
    const asked = scene.fake.http.requests.length
    scene.fake.trouble = undefined
    await scene.drain()
    await write(scene.outbox)
    expect(scene.fake.http.requests).toHaveLength(asked)
    clock.advance(61_000)
    await write(scene.outbox)
    expect(scene.bodies()).toHaveLength(1)
  })

  test('is given up where the forge refuses it, until there is a newer one', async ({
    database,
  }) => {
    const clock = testClock(START)
    await using scene = await pullScene(database, clock)
    const pull = scene.fake.addPull({ headSha: HEAD })
    await look(scene.pulls)
    scene.fake.trouble = failing(422)
    await write(scene.outbox)
    scene.fake.trouble = undefined
    clock.advance(3_600_000)
    await write(scene.outbox)
    expect(scene.bodies()).toEqual([])
    pull.headSha = OTHER_HEAD
    await scene.round()
    expect(scene.bodies()).toHaveLength(1)
  })
})
