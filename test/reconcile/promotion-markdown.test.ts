import { readFileSync, writeFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { PromotionPlan } from '../../src/reconcile/promotion.ts'
import { renderPlanMarkdown } from '../../src/reconcile/promotion-markdown.ts'
import type { TestRepository } from '../support/repository.ts'
import { commitOn, one, pipeline, plan } from './promotion-support.ts'

const GOLDEN = `${import.meta.dirname}/golden/promotion.md`

const CHANNELS = 'channels: { feed: { type: in_app, provider: in_app } }\n'
const STEPS = (body: string, wait: string) =>
  `steps:\n  - { ref: feed, type: in_app, body: ${body} }\n  - { ref: wait, type: delay, for: ${wait} }\n`
const SCHEMA = (required: string) =>
  `trigger:\n  data_schema: { type: object, required: [${required}], properties: { page: { type: string } } }\n`

/** A promotion with something of each kind. */
async function everything(): Promise<TestRepository> {
  const repository = await pipeline()
  await commitOn(repository, 'main', {
    'workflows/digest/workflow.yaml': `name: Digest\n${SCHEMA('')}${STEPS('"{{> button}}"', '15m')}`,
    'workflows/_partials/button.hbs': 'A button',
    ...one('old-name', 'Moved'),
  })
  await repository.merge('main', 'staging')
  await repository.merge('main', 'production')
  await commitOn(repository, 'production', {
    ...one('gamma', 'Fixed'),
    ...one('beta', 'Fixed too'),
  })
  await repository.git('checkout', '--quiet', 'staging')
  await repository.git('mv', 'workflows/old-name', 'workflows/new-name')
  await repository.commit({
    ...one('alpha', 'New text'),
    ...one('beta', 'Written anew'),
    ...one('delta', 'Fourth'),
    'workflows/digest/workflow.yaml': `name: Daily digest\n${SCHEMA('page')}${STEPS('"{{> button}}!"', '1h')}`,
    'workflows/_partials/button.hbs': 'Another button',
    'environments/production.yaml': `timezone: Europe/Berlin\npromotes_from: staging\n${CHANNELS}`,
  })
  return repository
}

/** Ids of commits depend on the time of the test. */
function steady(markdown: string): string {
  return markdown.replaceAll(/`[0-9a-f]{12}`/g, '`0123456789ab`')
}

describe('a plan as Markdown', () => {
  test('reads as it does in the golden file', async () => {
    await using repository = await everything()
    const found = await plan(repository)
    const effects = {
      runs: [
        {
          workflow: 'digest',
          paused: 12,
          steps: [{ ref: 'wait', runs: 12, removed: false }],
          ends: false,
        },
      ],
      batches: [
        {
          workflow: 'digest',
          batches: 3,
          activities: 18,
          steps: [
            { ref: 'gather', batches: 2, activities: 17, goes_on_with: 'newest' },
            { ref: 'hold', batches: 1, activities: 1, goes_on_with: 'earlier' },
          ],
          ends: false,
        },
      ],
      unlisted: { runs: 0, batches: 4 },
    } as const
    const markdown = steady(renderPlanMarkdown({ ...found, effects }))
    if (process.env['BELFRY_UPDATE_GOLDEN']) writeFileSync(GOLDEN, markdown)
    expect(markdown).toBe(readFileSync(GOLDEN, 'utf8'))
  })

  test('lets nothing that a file or a branch says become markup, a mention or a link', async () => {
    await using repository = await pipeline()
    const nasty = '@ada <img> | `a` [b](https://x.example) **c** #12 www.x.example </details>'
    await commitOn(repository, 'staging', {
      'workflows/alpha/workflow.yaml': `name: ${JSON.stringify(nasty)}\nsteps:\n  - { ref: feed, type: in_app, body: x }\n`,
      'workflows/alpha/a|b`c.hbs': nasty,
    })
    const markdown = renderPlanMarkdown(await plan(repository))
    expect(markdown).not.toMatch(/@ada|<img|[^\\]\[b|[^\\]\*\*c|`a`|#12|https:\/\/|www\.x/)
    expect(markdown.match(/<\/details>/g)).toHaveLength(1)
    expect(markdown).toContain('&lt;img&gt;')
    expect(markdown).toContain('``workflows/alpha/a\\|b`c.hbs``')
  })

  test('is never longer than a forge takes', async () => {
    await using repository = await everything()
    const found = await plan(repository)
    const file = {
      path: 'workflows/digest/workflow.yaml',
      change: 'changed',
      conflict: null,
    } as const
    const files = Array.from({ length: 200 }, () => file)
    const many = Array.from({ length: 3_000 }, () =>
      found.workflows.map((change) => ({ ...change, files })),
    ).flat()
    const long: PromotionPlan = { ...found, workflows: many }
    const markdown = renderPlanMarkdown(long)
    expect(markdown.length).toBeLessThan(65_536)
    expect(markdown).toContain('and 20950 more')
    expect(markdown).toContain('longer than a comment may be')
    expect(markdown).toContain('The plan is void when one of them moves')
  })
})
