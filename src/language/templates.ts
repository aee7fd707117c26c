import { messageOf, TerminalFailure } from '../errors.ts'
import { BudgetExceeded, OUTPUT_MAX, withBudget } from './template-budget.ts'
import type { Form, Partials } from './template-compile.ts'
import { CompileFailure, compiledFor, prepare, takenValue } from './template-compile.ts'
import { escapeLine } from './template-escape.ts'
import { helpers } from './template-helpers.ts'
import {
  mailTemplate,
  mjmlProblems,
  styledContent,
  styledPartials,
  type MailSource,
} from './template-mail.ts'
import type { OutputKind, TemplateProblem } from './template-kinds.ts'
import { wholeUrl } from './template-url.ts'
import type { TemplateUses } from './template-uses.ts'
import { usesOf } from './template-uses.ts'
import type { Translations } from './translations.ts'

export type { OutputKind, TemplateProblem } from './template-kinds.ts'
export { checkMail, fitsLayout, type MailSource } from './template-mail.ts'
export type { TemplateUses, TextUse, VariableUse } from './template-uses.ts'
export type { LocaleTexts, Translation, Translations } from './translations.ts'

/** A template cannot be rendered, now or later. The message says which, what and where. */
export class TemplateError extends TerminalFailure {
  /** Name of the template, or of the partial that is at fault. */
  readonly template: string
  readonly code: string
  readonly line: number | undefined
  readonly column: number | undefined

  constructor(
    template: string,
    reason: {
      readonly code: string
      readonly message: string
      readonly line?: number
      readonly column?: number
    },
  ) {
    const place = reason.line === undefined ? '' : `:${reason.line}:${reason.column}`
    super(`${template}${place}: ${reason.message}`)
    this.template = template
    this.code = reason.code
    this.line = reason.line
    this.column = reason.column
  }
}

/** Every helper that a template can use, with one line about it. */
export const templateHelpers: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(helpers).map(([name, helper]) => [name, helper.summary]),
)

/** Every problem of a template that would keep it from being rendered, in the order of the source. */
export function checkTemplate(
  source: string,
  target: {
    readonly kind: OutputKind
    readonly partials: ReadonlySet<string>
    readonly layout?: boolean
    readonly isMjml?: boolean
  },
): readonly TemplateProblem[] {
  const { problems } = prepare(source, { ...target, layout: target.layout ?? false })
  return problems.length > 0 || !target.isMjml ? problems : mjmlProblems(source)
}

/**
 * The partials that a template includes, and the values that it names by their full path from the
 * scope (`data.items.*.title` inside a loop). Empty for source that does not parse.
 */
export function templateUses(source: string): TemplateUses {
  return usesOf(source)
}

/** A body or a layout of a mail, by the name that errors call it. */
export interface MailPart extends MailSource {
  readonly name: string
}

export interface Rendering {
  readonly partials: Partials
  /** The texts of the helper `t`; none where it is left out. */
  readonly translations?: Translations | undefined
  readonly scope: object
  /** What errors call the template. */
  readonly name: string
}

/**
 * The text of a template in a scope, escaped for its kind. Unset values are empty.
 * Throws a `TemplateError` where the template is broken or does more than a template may.
 */
export function renderText(
  source: string,
  rendering: Rendering & { readonly kind: OutputKind; readonly layout?: boolean },
): string {
  const { kind, name } = rendering
  const form = rendering.layout && kind === 'html' ? 'layout' : kind
  return guarded(name, () => {
    const text = renderForm(source, form, rendering)
    if (kind === 'line') return escapeLine(text)
    return kind === 'url' ? wholeUrl(text) : text
  })
}

/**
 * The HTML of a mail: `body` in `layout`, MJML compiled and styles inlined. A string as the body is HTML
 * that is safe already. Throws as `renderText`.
 */
export function renderMail(
  { body, layout }: { readonly body: MailPart | string; readonly layout?: MailPart | undefined },
  rendering: Omit<Rendering, 'name'>,
): string {
  const { scope, partials } = rendering
  const name = (typeof body === 'string' ? layout : body)?.name ?? 'mail'
  return guarded(name, () => {
    const isReady = typeof body === 'string'
    const { source, isOpen, css } = mailTemplate(isReady ? undefined : body, layout)
    const styled = { ...rendering, name, partials: styledPartials(partials, css) }
    if (!isOpen) return renderForm(source, 'mail', styled)
    const html = isReady ? styledContent(body, css) : renderForm(body.source, 'html', styled)
    return renderForm(source, 'mail', { ...styled, scope: { ...scope, content: html } })
  })
}

/**
 * A tree whose string leaves are rendered as text, all within one budget. A leaf that is exactly
 * one expression keeps the type of its value; an unset one is null. Throws as `renderText`.
 */
export function renderTree(tree: unknown, rendering: Rendering): unknown {
  return guarded(rendering.name, () => renderNode(tree, rendering, ''))
}

function renderNode(node: unknown, rendering: Rendering, path: string): unknown {
  if (typeof node === 'string') return renderLeaf(node, rendering, path)
  if (Array.isArray(node)) {
    return node.map((item, index) => renderNode(item, rendering, `${path}/${index}`))
  }
  if (typeof node !== 'object' || node === null) return node ?? null
  return Object.fromEntries(
    Object.entries(node).map(([key, value]) => [
      key,
      renderNode(value, rendering, `${path}/${key}`),
    ]),
  )
}

function renderLeaf(source: string, rendering: Rendering, path: string): unknown {
  if (!source.includes('{{')) return source
  try {
    const { compiled, takes } = compiledFor(source, 'leaf', rendering.partials)
    const text = compiled(rendering.scope, rendering.translations)
    return takes ? (takenValue() ?? null) : text
  } catch (error) {
    throw failure(`${rendering.name} at ${path || '/'}`, error)
  }
}

function renderForm(source: string, form: Form, rendering: Rendering): string {
  const { partials, scope, translations } = rendering
  if (!source.includes('{{') && form !== 'html' && form !== 'mail') return source
  const text = compiledFor(source, form, partials).compiled(scope, translations)
  if (text.length > OUTPUT_MAX) throw new BudgetExceeded('the output is larger than 5 MB')
  return text
}

function guarded<Result>(name: string, render: () => Result): Result {
  try {
    return withBudget(render)
  } catch (error) {
    throw failure(name, error)
  }
}

function failure(name: string, error: unknown): TemplateError {
  if (error instanceof TemplateError) return error
  if (error instanceof CompileFailure) {
    const template = error.partial === undefined ? name : `partial "${error.partial}" in ${name}`
    return new TemplateError(template, error.problem)
  }
  const code = error instanceof BudgetExceeded ? 'template_budget' : 'template_failed'
  return new TemplateError(name, { code, message: messageOf(error) })
}
