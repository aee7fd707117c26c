/** What a path in a condition may start with. */
export const conditionPrefixes = [
  'data',
  'recipient',
  'actor',
  'tenant',
  'vars',
  'workflow',
  'run',
  'refs',
  'event',
] as const

/** The prefixes that may stand alone, to ask whether there is one at all. */
const standalone: ReadonlySet<string> = new Set(['actor', 'tenant', 'event'])

const PATH = new RegExp(`^(?:${conditionPrefixes.join('|')})(?:\\.[^.\\s"'\`()[\\]{},;]+)+$`)

/** An argument as read: a value, or the path of one. */
export type Argument =
  | { readonly kind: 'value'; readonly value: unknown }
  | { readonly kind: 'path'; readonly path: string }

/** Whether a text has the form `<prefix>.<path>` with a known prefix. */
export function isPath(text: string): boolean {
  return PATH.test(text)
}

/** Whether a text may be the variable of a condition. */
export function isVariable(text: string): boolean {
  return isPath(text) || standalone.has(text)
}

/**
 * Reads an argument. A text that is JSON is its value (`"5"` is the number 5, `'"data.x"'` the
 * text `data.x`), one of the form `<prefix>.<path>` the path of a value, any other itself.
 * No argument is null.
 */
export function argumentOf(argument: unknown): Argument {
  if (typeof argument !== 'string') return { kind: 'value', value: argument ?? null }
  if (isPath(argument)) return { kind: 'path', path: argument }
  return { kind: 'value', value: decoded(argument) }
}

function decoded(text: string): unknown {
  if (!/^[\s[{"\-\dtfn]/.test(text)) return text
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
