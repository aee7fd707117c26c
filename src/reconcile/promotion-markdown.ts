import type { Diagnostic } from '../workflow/diagnostic.ts'
import type { BackMerge, PlanProblem, PromotionPlan, WorkflowChange } from './promotion.ts'
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
} from './promotion-words.ts'
import { counted } from './promotion-verdict.ts'
import { short } from './status.ts'

/** Of a list; a comment with thousands of lines helps nobody. */
const ROWS_MAX = 50
/** Forges refuse comments of more than 65,536 characters. */
const LENGTH_MAX = 60_000

/**
 * A plan as Markdown for the comment of a pull request: verdict and tables first, details folded
 * away. Whatever a file or a branch says is shown as text: it makes no markup, link or mention.
 */
export function renderPlanMarkdown(plan: PromotionPlan): string {
  const { base, head } = plan
  const sections = [
    `### Promotion: ${code(head.name)} → ${code(base.name)}`,
    `**${text(verdictWords(plan))}** ${text(sentence(countWords(plan)))}`,
    problems('Blocked by', plan.blocked_by),
    problems('Worth knowing', plan.warnings),
    workflowTable(plan.workflows),
    conflictTable(plan),
    partTable(plan),
    runTable(plan),
    batchTable(plan),
    diagnosticTable(plan.diagnostics),
    ...details(plan),
    plan.back_merge === null ? '' : backMerge(plan.back_merge, plan),
    validity(plan),
  ]
  return fit(sections.filter((section) => section !== ''))
}

/** Leaves out what is folded away, from the end, until the rest fits. */
function fit(sections: readonly string[]): string {
  const kept = [...sections]
  const length = () => kept.reduce((sum, section) => sum + section.length + 2, 0)
  let isCut = false
  for (let at = kept.length - 2; at > 2 && length() > LENGTH_MAX; at -= 1) {
    kept.splice(at, 1)
    isCut = true
  }
  const note = isCut
    ? ['The plan is longer than a comment may be; `belfry plan` shows the rest.']
    : []
  const [last = ''] = kept.splice(-1)
  return `${[...kept, ...note, last].join('\n\n')}\n`
}

function problems(title: string, found: readonly PlanProblem[]): string {
  if (found.length === 0) return ''
  return [`**${title}**`, '', ...found.map(({ message }) => `- ${text(sentence(message))}`)].join(
    '\n',
  )
}

function workflowTable(workflows: readonly WorkflowChange[]): string {
  const rows = workflows.map((one) => [
    code(one.key),
    `${changeWords(one.change)}${one.breaking ? ' ⚠️' : ''}`,
    summaryOf(one).map(text).join('<br>'),
  ])
  return table(['workflow', 'change', 'what'], rows)
}

function conflictTable({ conflicts }: PromotionPlan): string {
  const rows = conflicts.map(({ path, kind }) => [code(path), conflictWords(kind)])
  return table(['conflict', 'why'], rows)
}

function partTable({ shared, environments }: PromotionPlan): string {
  const rows = [
    ...shared.map(({ path, change, workflows }) => {
      const used = workflows === null ? 'not looked at' : shownKeys(workflows)
      return [code(path), change.replaceAll('_', ' '), used]
    }),
    ...environments.map(({ path, own, change, fields }) => {
      const whose = own ? 'read by the target' : 'of another environment'
      const what = fields.length > 0 ? `: ${fields.map(code).join(', ')}` : ''
      return [code(path), change.replaceAll('_', ' '), `${whose}${what}`]
    }),
  ]
  return table(['shared file', 'change', 'touches'], rows)
}

function shownKeys(keys: readonly string[]): string {
  const shown = keys.slice(0, ROWS_MAX).map(code).join(', ')
  return keys.length > ROWS_MAX ? `${shown} and ${keys.length - ROWS_MAX} more` : shown
}

function runTable({ effects }: PromotionPlan): string {
  const rows = (effects?.runs ?? []).map((one) => [code(one.workflow), text(runWords(one))])
  return table(['runs under way', 'what happens'], rows, effects?.unlisted.runs)
}

function batchTable({ effects }: PromotionPlan): string {
  const rows = (effects?.batches ?? []).map((one) => [code(one.workflow), text(batchWords(one))])
  return table(['open batches', 'what happens'], rows, effects?.unlisted.batches)
}

function diagnosticTable(diagnostics: readonly Diagnostic[]): string {
  const rows = diagnostics.map(({ path, line, column, severity, message }) => [
    code(`${path}:${line}:${column}`),
    severity,
    text(message),
  ])
  return table(['problem in the merged files', 'severity', 'what'], rows)
}

function details({ workflows }: PromotionPlan): readonly string[] {
  return workflows
    .filter(({ change }) => change === 'changed')
    .slice(0, ROWS_MAX)
    .map(({ key, steps, trigger_schema: schema, fields, files }) => {
      const lines = [
        ...fields.map((one) => text(fieldWords(one))),
        ...schema.map(({ path, message, breaking }) => {
          const where = path === '' ? 'trigger data' : `trigger data ${path}`
          return `${text(`${where}: ${message}`)}${breaking ? ' ⚠️ breaking' : ''}`
        }),
        ...(steps ?? []).map((one) => text(`step ${stepWords(one)}`)),
        ...files.map(({ path, change }) => `${code(path)} ${change}`),
      ]
      return folded(
        `What changes in <code>${html(key)}</code>`,
        lines.map((line) => `- ${line}`).join('\n'),
      )
    })
}

function backMerge(
  { commits, more_commits: more, commands }: BackMerge,
  { head }: PromotionPlan,
): string {
  const list = commits.map(({ revision, subject }) => `- ${code(short(revision))} ${text(subject)}`)
  const rest = more > 0 ? [`- and ${counted(more, 'more commit')}`] : []
  const shell = commands.length > 0 ? ['', '```sh', ...commands, '```'] : []
  return folded(
    `Bring what only the target has back to <code>${html(head.name)}</code>`,
    [...list, ...rest, ...shell].join('\n'),
  )
}

function validity({ valid_for: { base, head, merge_base: common }, order }: PromotionPlan): string {
  const parted = common === null ? 'no common commit' : `merge base ${code(short(common))}`
  const source =
    order.promotes_from === null ? '' : ` It takes content from ${code(order.promotes_from)}.`
  return `<sub>Target ${code(short(base))}, head ${code(short(head))}, ${parted}. The plan is void when one of them moves.${source}</sub>`
}

function folded(title: string, body: string): string {
  return `<details><summary>${title}</summary>\n\n${body}\n\n</details>`
}

function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  unlisted = 0,
): string {
  if (rows.length === 0) return ''
  const lines = [head, head.map(() => '---'), ...rows.slice(0, ROWS_MAX)]
  const rest = Math.max(0, rows.length - ROWS_MAX) + unlisted
  const more = rest > 0 ? `\n\nand ${rest} more` : ''
  return `${lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n')}${more}`
}

function sentence(words: string): string {
  const ended = /[.!?]$/.test(words) ? words : `${words}.`
  return `${ended.charAt(0).toUpperCase()}${ended.slice(1)}`
}

/** Text of unknown origin as a code span, also inside a table. */
function code(unknown: string): string {
  const shown = oneLine(unknown).replaceAll('|', '\\|')
  const longest = Math.max(0, ...(shown.match(/`+/g) ?? []).map((run) => run.length))
  const fence = '`'.repeat(longest + 1)
  const space = shown.startsWith('`') || shown.endsWith('`') ? ' ' : ''
  return shown === '' ? '' : `${fence}${space}${shown}${space}${fence}`
}

const NOTHING = '<!-- -->'

/** Text of unknown origin as text: no markup, no HTML, no mention, no reference and no link. */
function text(unknown: string): string {
  return html(oneLine(unknown))
    .replaceAll(/[\\`*_{}[\]()|~!]/g, '\\$&')
    .replaceAll(/([@#])(?=\w)/g, `$1${NOTHING}`)
    .replaceAll('://', `:${NOTHING}//`)
    .replaceAll(/\bwww\./gi, `www${NOTHING}.`)
}

function html(unknown: string): string {
  return oneLine(unknown).replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

function oneLine(unknown: string): string {
  return unknown.replaceAll(/\s+/g, ' ').replaceAll(/[\p{Cc}\p{Cf}]/gu, '?')
}
