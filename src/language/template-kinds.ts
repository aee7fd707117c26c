/**
 * What a rendered text is for, which decides how values are escaped:
 * `html` by HTML context, `markdown` so that no value adds markup, `url` so that a value stays in
 * its part, `line` (subjects, headers: no line breaks) and `text` not at all.
 */
export type OutputKind = 'html' | 'markdown' | 'url' | 'line' | 'text'

/** What is wrong with a template, and where: line and column count from 1. */
export interface TemplateProblem {
  readonly line: number
  readonly column: number
  readonly code: string
  readonly message: string
  readonly hint?: string
}

/** Collects the problems of one template. */
export type Report = (
  at: { readonly line: number; readonly column: number },
  code: string,
  message: string,
  hint?: string,
) => void

/** What a file is compiled as. */
export interface TemplateTarget {
  readonly kind: OutputKind
  /** Names of the partials there are. */
  readonly partials: ReadonlySet<string>
  /** A layout holds `{{{content}}}`, which is safe HTML already. */
  readonly layout: boolean
  /** Made from templates that were checked one by one, so that it may be larger. */
  readonly isMade?: boolean
}
