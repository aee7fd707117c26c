import type { PlanProblem, PromotionPlan, WorkflowChange } from '../reconcile/promotion.ts'
import {
  batchWords,
  changeWords,
  conflictWords,
  countWords,
  fieldWords,
  runWords,
  stepWords,
  summaryOf,
  verdictWords,
} from '../reconcile/promotion-words.ts'
import { counted } from '../reconcile/promotion-verdict.ts'
import { short } from '../reconcile/status.ts'
import { printable, type Output } from './output.ts'

const MARKS = {
  added: ['+', 'green'],
  changed: ['~', 'yellow'],
  archived: ['-', 'red'],
  conflicting: ['!', 'red'],
  only_in_target: ['<', 'cyan'],
  same: ['=', 'dim'],
} as const

/** A plan for a terminal. */
export function planLines(found: PromotionPlan, output: Output): readonly string[] {
  const plan = shown(found)
  const { base, head, relation } = plan
  const from = `${head.name}${head.ref === null || head.ref === head.name ? '' : ` (${head.ref})`}`
  const ends = `${from} ${short(head.revision)} → ${base.name} ${short(base.revision)}`
  return [
    output.style('bold', ends),
    `${relation.replaceAll('_', ' ')}: ${countWords(plan)}`,
    ...plan.workflows.flatMap((one) => workflowLines(one, output)),
    ...partLines(plan),
    ...effectLines(plan),
    ...plan.conflicts.map(({ path, kind }) => {
      return `${output.style('red', 'conflict')} ${path}: ${conflictWords(kind)}`
    }),
    ...plan.diagnostics.map(({ path, line, column, severity, code, message }) => {
      const mark = output.style(severity === 'error' ? 'red' : 'yellow', severity)
      return `${path}:${line}:${column} ${mark} ${code}: ${message}`
    }),
    ...backMergeLines(plan),
    ...problemLines(plan.warnings, output.style('yellow', 'warning')),
    ...problemLines(plan.blocked_by, output.style('red', 'blocked')),
    verdictWords(plan),
  ]
}

function workflowLines(one: WorkflowChange, output: Output): readonly string[] {
  const [mark, color] = MARKS[one.change]
  const name = one.name === null ? '' : ` "${one.name}"`
  const summary = summaryOf(one).join(', ')
  const head = `${output.style(color, `${mark} ${one.key}`)}${name} ${changeWords(one.change)}`
  return [
    `${head}${summary === '' ? '' : `: ${summary}`}`,
    ...one.fields.map((field) => `    ${fieldWords(field)}`),
    ...one.trigger_schema.map(({ path, message, breaking }) => {
      const where = path === '' ? 'trigger data' : `trigger data ${path}`
      return `    ${where}: ${message}${breaking ? output.style('red', ' (breaking)') : ''}`
    }),
    ...(one.steps ?? []).map((step) => `    step ${stepWords(step)}`),
  ]
}

function partLines({ shared, environments }: PromotionPlan): readonly string[] {
  return [
    ...shared.map(({ path, change, workflows }) => {
      const used = workflows === null ? 'users not looked at' : workflows.join(', ')
      return `  ${path} ${change.replaceAll('_', ' ')}${used === '' ? '' : `: ${used}`}`
    }),
    ...environments.map(({ path, own, change, fields }) => {
      const what = fields.length > 0 ? `: ${fields.join(', ')}` : ''
      return `  ${path} ${change.replaceAll('_', ' ')}${own ? ' (read by the target)' : ''}${what}`
    }),
  ]
}

function effectLines({ effects }: PromotionPlan): readonly string[] {
  if (effects === null) return []
  const { runs, batches, unlisted } = effects
  return [
    ...runs.map((one) => `  ${one.workflow}: ${runWords(one)}`),
    ...moreLine(unlisted.runs, 'paused runs'),
    ...batches.map((one) => `  ${one.workflow}: ${batchWords(one)}`),
    ...moreLine(unlisted.batches, 'open batches'),
  ]
}

function moreLine(workflows: number, what: string): readonly string[] {
  return workflows > 0 ? [`  and ${counted(workflows, 'more workflow')} with ${what}`] : []
}

function backMergeLines({ back_merge: back, head }: PromotionPlan): readonly string[] {
  if (back === null || back.commands.length === 0) return []
  return [
    `to bring back to ${head.name} what only the target has:`,
    ...back.commands.map((command) => `    ${command}`),
  ]
}

function problemLines(found: readonly PlanProblem[], mark: string): readonly string[] {
  return found.map(({ message }) => `${mark}: ${message}`)
}

/** What files and branches say must not move the cursor. */
function shown(plan: PromotionPlan): PromotionPlan {
  return JSON.parse(JSON.stringify(plan), (_, value: unknown) =>
    typeof value === 'string' ? printable(value) : value,
  ) as PromotionPlan
}
