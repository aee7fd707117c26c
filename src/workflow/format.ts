import type { Diagnostic } from './diagnostic.ts'

/** How much of a long line is shown, and how much of it before the caret. */
const EXCERPT_LENGTH_MAX = 100
const EXCERPT_BEFORE_MAX = 60

/**
 * A diagnostic for people: place, severity, code and message on one line, then the line of the file
 * with a caret under the place, then the hint. `source` is the file's text, where it is at hand.
 */
export function formatDiagnostic(diagnostic: Diagnostic, source?: string): string {
  const { path, line, column, code, message, hint, severity } = diagnostic
  const head = `${path}:${line}:${column} ${severity} ${code} ${message}`
  const text = source?.split('\n')[line - 1]?.trimEnd()
  const excerpt = text === undefined || text === '' ? [] : excerptOf(text, { line, column })
  return [head, ...excerpt, ...(hint === undefined ? [] : [`  hint: ${hint}`])].join('\n')
}

function excerptOf(
  text: string,
  { line, column }: Pick<Diagnostic, 'line' | 'column'>,
): readonly string[] {
  const from = Math.max(0, column - 1 - EXCERPT_BEFORE_MAX)
  // A tab is one column wide here, as it is in the position.
  const shown = text.slice(from, from + EXCERPT_LENGTH_MAX).replaceAll('\t', ' ')
  const before = ' '.repeat(Math.min(column - 1 - from, shown.length))
  const gutter = String(line)
  return [`  ${gutter} | ${shown}`, `  ${' '.repeat(gutter.length)} | ${before}^`]
}
