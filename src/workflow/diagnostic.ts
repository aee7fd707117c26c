/** A problem in a file: where it is, what is wrong, and what to do about it. */
export interface Diagnostic {
  /** Path from the repository's root, with forward slashes. */
  readonly path: string
  /** From 1. */
  readonly line: number
  /** From 1, in UTF-16 code units. */
  readonly column: number
  /** A stable word, listed in docs/spec/diagnostics.md. */
  readonly code: string
  readonly message: string
  readonly hint?: string
  /** An error keeps the revision from being applied, a warning does not. */
  readonly severity: 'error' | 'warning'
}

/** A place in a text, both from 1; the column in UTF-16 code units. */
export interface Position {
  readonly line: number
  readonly column: number
}

/** What is wrong, apart from where. */
export interface Problem {
  readonly code: string
  readonly message: string
  readonly hint?: string | undefined
}

/** A diagnostic that keeps the revision from being applied. */
export function errorAt(path: string, at: Position, problem: Problem): Diagnostic {
  return diagnosticAt(path, at, { ...problem, severity: 'error' })
}

/** A diagnostic that is shown and keeps nothing from being applied. */
export function warningAt(path: string, at: Position, problem: Problem): Diagnostic {
  return diagnosticAt(path, at, { ...problem, severity: 'warning' })
}

function diagnosticAt(
  path: string,
  { line, column }: Position,
  { code, message, hint, severity }: Problem & Pick<Diagnostic, 'severity'>,
): Diagnostic {
  const base = { path, line, column, code, message }
  return hint === undefined ? { ...base, severity } : { ...base, hint, severity }
}

/** By path, line, column and code, each one once: the same files always give the same list. */
export function sortDiagnostics(diagnostics: readonly Diagnostic[]): readonly Diagnostic[] {
  const sorted = diagnostics.toSorted(
    (a, b) =>
      compare(a.path, b.path) ||
      a.line - b.line ||
      a.column - b.column ||
      compare(a.code, b.code) ||
      compare(a.message, b.message),
  )
  return sorted.filter((one, index) => index === 0 || !isSame(one, sorted[index - 1]))
}

function isSame(one: Diagnostic, other: Diagnostic | undefined): boolean {
  return (
    one.path === other?.path &&
    one.line === other.line &&
    one.column === other.column &&
    one.code === other.code &&
    one.message === other.message
  )
}

/** By code unit, so that the order depends on no locale. */
function compare(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}
