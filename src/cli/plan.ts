import { ConfigError } from '../errors.ts'
import type { PromotionPlan } from '../reconcile/promotion.ts'
import { createClient } from './client.ts'
import { FINE, FOUND, type Command, type CommandContext, type ExitCode } from './command.ts'

/** Says what merging one branch into that of an environment would do. */
export const plan: Command = {
  name: 'plan',
  summary: 'Show what merging a branch into an environment would do',
  usage: [
    '--env <environment> [--head <environment, branch or commit>] [--repo <path>]',
    '--env <environment> --head <name> --server',
  ],
  words: { min: 0, max: 0 },
  outputs: ['markdown'],
  options: {
    env: { type: 'string', short: 'e', value: 'name', help: 'the environment that is merged into' },
    head: {
      type: 'string',
      value: 'name',
      help: 'what is merged: an environment, a branch or the full id of a commit; default: HEAD',
    },
    repo: { type: 'string', value: 'path', help: 'the repository; default: the one here' },
    'default-branch': {
      type: 'string',
      value: 'name',
      help: 'the branch that declares environments; default: what the repository says',
    },
    server: { type: 'boolean', help: 'ask the server, which knows what was applied and what runs' },
    'exit-code': { type: 'boolean', help: 'exit with 1 also where the merge changes anything' },
  },
  async run(context) {
    const { options, output } = context
    const found = await findPlan(context)
    if (options.text('output') === 'markdown') {
      const { renderPlanMarkdown } = await import('../reconcile/promotion-markdown.ts')
      output.raw(renderPlanMarkdown(found))
    } else {
      const { planLines } = await import('./plan-text.ts')
      output.result(found, () => planLines(found, output))
    }
    return exitCodeOf(found, options.flag('exit-code'))
  },
}

async function findPlan({ options, settings }: CommandContext): Promise<PromotionPlan> {
  const environment = options.text('env')
  if (environment === undefined)
    throw new ConfigError('say which environment: belfry plan --env <name>')
  const head = options.text('head')
  if (!options.flag('server')) {
    const { planLocally } = await import('./local-plan.ts')
    return (await planLocally(options, { environment, head: head ?? 'HEAD' })).plan
  }
  if (head === undefined) throw new ConfigError('say what is merged: --head <name>')
  const path = `/v1/environments/${encodeURIComponent(environment)}/plan`
  return createClient(settings, options).call<PromotionPlan>('GET', path, { query: { head } })
}

/** As of `git diff`: a difference is nothing wrong unless it was asked for. */
export function exitCodeOf(
  { verdict, workflows, shared, environments }: PromotionPlan,
  isAsked: boolean,
): ExitCode {
  if (verdict === 'blocked') return FOUND
  const isSame = [...workflows, ...shared, ...environments].every(
    ({ change }) => change === 'only_in_target' || change === 'same',
  )
  return isAsked && !isSame ? FOUND : FINE
}
