import { createInterface } from 'node:readline/promises'
import { ConfigError } from '../errors.ts'
import type { ForgeSettings } from '../forge-settings.ts'
import type { PromotionPlan } from '../reconcile/promotion.ts'
import { FINE, FOUND, type Command, type CommandContext, type ExitCode } from './command.ts'
import type { Made } from './promote-merge.ts'

/** Merges one environment into the next one, as its plan says. */
export const promote: Command = {
  name: 'promote',
  summary: 'Merge an environment into another one, after its plan',
  usage: [
    '<from> <to> [--yes] [--ff] [--push] [--allow-prune]',
    '<from> <to> --pull-request [--yes]',
  ],
  words: { min: 2, max: 2 },
  options: {
    yes: { type: 'boolean', short: 'y', help: 'merge without a question' },
    ff: { type: 'boolean', help: 'move the branch without a merge commit, where that is possible' },
    push: { type: 'boolean', help: 'push the branch to origin as well' },
    'allow-prune': { type: 'boolean', help: 'say in the merge commit that its archiving is meant' },
    'pull-request': {
      type: 'boolean',
      help: 'open a pull request instead, with the plan as its text',
    },
    message: {
      type: 'string',
      short: 'm',
      value: 'text',
      help: 'of the merge commit, or the title of the pull request',
    },
    repo: { type: 'string', value: 'path', help: 'the repository; default: the one here' },
    'default-branch': {
      type: 'string',
      value: 'name',
      help: 'the branch that declares environments; default: what the repository says',
    },
  },
  async run(context) {
    const { words, options, output } = context
    const [head = '', environment = ''] = words
    const forge = options.flag('pull-request') ? forgeOf(context) : undefined
    const [{ planLocally }, { mergePromotion }, { planLines }] = await Promise.all([
      import('./local-plan.ts'),
      import('./promote-merge.ts'),
      import('./plan-text.ts'),
    ])
    const { plan, repository } = await planLocally(options, { environment, head })
    for (const line of planLines(plan, output)) output.line(line)
    const refusal = refusalOf(plan, context)
    if (refusal !== undefined) {
      output.problem({ code: 'not_promoted', message: refusal })
      return FOUND
    }
    if (plan.verdict === 'nothing_to_do') return report(context, plan, undefined)
    if (!options.flag('yes') && !(await isConfirmed(plan, forge !== undefined))) {
      output.problem({ code: 'not_confirmed', message: 'not confirmed; nothing was changed' })
      return FOUND
    }
    if (forge) return openPull(context, forge, plan)
    const made = await mergePromotion(repository, plan, {
      isFastForward: options.flag('ff'),
      isPushed: options.flag('push'),
      isPruneAllowed: options.flag('allow-prune'),
      message: options.text('message'),
    })
    if (made.kind === 'refused') {
      output.problem({ code: 'not_promoted', message: made.why })
      return FOUND
    }
    return report(context, plan, made)
  },
}

/** What the plan is blocked by; a held prune is none where it is said to be meant. */
function refusalOf(plan: PromotionPlan, { options }: CommandContext): string | undefined {
  const isMeant = options.flag('allow-prune')
  if (isMeant && options.flag('ff') && plan.relation === 'fast_forward' && plan.prune.held) {
    throw new ConfigError('--allow-prune is written into a merge commit, which --ff does not make')
  }
  const left = plan.blocked_by.filter(({ code }) => code !== 'prune_guard' || !isMeant)
  return left.length === 0
    ? undefined
    : `not merged: ${left.map(({ message }) => message).join('; ')}`
}

/** The forge that is set, for options that fit together. */
function forgeOf({ options, host }: CommandContext): ForgeSettings {
  const other = ['ff', 'push', 'allow-prune'].find((name) => options.flag(name))
  if (other !== undefined) {
    throw new ConfigError(`--${other} is about a merge, which --pull-request leaves to the forge`)
  }
  const forge = host.forge()
  if (!forge) throw new ConfigError('no forge is set: name it with BELFRY_FORGE')
  return forge
}

async function openPull(
  { options, output }: CommandContext,
  forge: ForgeSettings,
  plan: PromotionPlan,
): Promise<ExitCode> {
  const { openPromotionPull } = await import('./promote-pull.ts')
  const { number, url } = await openPromotionPull(forge, plan, options.text('message'))
  output.result({ number, url, plan }, () => [`pull request ${number}: ${url}`])
  return FINE
}

async function isConfirmed({ head, base }: PromotionPlan, isPull: boolean): Promise<boolean> {
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  // An input that ends without a line is no confirmation.
  const ended = new Promise<string>((resolve) => lines.once('close', () => resolve('')))
  const what = isPull ? 'Open a pull request to merge' : 'Merge'
  const question = lines.question(`${what} ${head.name} into ${base.ref}? [y/N] `)
  const answer = await Promise.race([question, ended])
  lines.close()
  return /^y(?:es)?$/i.test(answer.trim())
}

function report(
  { output }: CommandContext,
  plan: PromotionPlan,
  made: Extract<Made, { kind: 'made' }> | undefined,
): ExitCode {
  const { base } = plan
  const revision = made?.revision ?? base.revision
  const result = { ref: base.ref, revision, pushed: made?.isPushed ?? false, plan }
  output.result(result, () => {
    if (!made) return ['nothing to merge']
    const pushed = made.isPushed ? ', and so is that of origin' : ''
    return [`${base.ref} is at ${revision} now${pushed}`]
  })
  return FINE
}
