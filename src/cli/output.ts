import { styleText } from 'node:util'

type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan'

/** Where a command writes. In JSON mode it writes one document, and nothing that is meant for people. */
export interface Output {
  readonly isJson: boolean
  /** One line for people; silent in JSON mode. */
  line(text?: string): void
  /** A line that people need to see but no pipe should hold: it goes to the error stream. */
  note(text: string): void
  /** The result: `value` as a JSON document, or the lines that show it. */
  result(value: unknown, lines: () => readonly string[]): void
  /** A text that is a result as it stands, such as a schema or a help page. */
  raw(text: string): void
  problem(problem: Problem): void
  style(style: Style, text: string): string
}

/** Why a command could not do what was asked. */
export interface Problem {
  readonly code: string
  readonly message: string
}

export interface Streams {
  readonly out: { write(text: string): unknown }
  readonly error: { write(text: string): unknown }
}

export interface OutputOptions {
  readonly isJson: boolean
  readonly hasColor: boolean
  readonly streams: Streams
}

export function createOutput({ isJson, hasColor, streams }: OutputOptions): Output {
  const style = (name: Style, text: string) =>
    hasColor ? styleText(name, text, { validateStream: false }) : text
  const out = (text: string) => streams.out.write(`${text}\n`)
  return {
    isJson,
    style,
    line(text = '') {
      if (!isJson) out(text)
    },
    note(text) {
      if (!isJson) streams.error.write(`${text}\n`)
    },
    result(value, lines) {
      if (isJson) out(JSON.stringify(value, undefined, 2))
      else for (const line of lines()) out(line)
    },
    raw(text) {
      streams.out.write(text.endsWith('\n') ? text : `${text}\n`)
    },
    problem(problem) {
      if (isJson) streams.error.write(`${JSON.stringify({ error: problem })}\n`)
      else streams.error.write(`${style('red', 'belfry:')} ${problem.message}\n`)
    },
  }
}

/** Lines of a table: columns as wide as their widest cell, control characters made visible. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const cells = [head, ...rows].map((row) => row.map(printable))
  const widths = head.map((_, column) =>
    Math.max(...cells.map((row) => (row[column] ?? '').length)),
  )
  return cells.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}

/** A text of unknown origin for a terminal: what would move the cursor or ring the bell is shown as `?`. */
export function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}]/gu, '?')
}
