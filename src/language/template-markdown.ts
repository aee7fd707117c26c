import type { Escaper } from './template-escape.ts'
import type { Complain, Context } from './template-rewrite.ts'
import type { UrlState } from './template-url.ts'
import { URL_START, urlJoin, urlLiteral, urlLoop, urlValue } from './template-url.ts'

interface MarkdownState {
  /** Where values take another escape than in running text. */
  at: 'text' | 'span' | 'block' | 'destination' | 'title'
  /** The backticks or tildes that the code began with. */
  mark: string
  url: UrlState
  /** How many `[` are open, of which `](` would close one. */
  brackets: number
  /** Whether a value stands in the code or link that is open. */
  used: boolean
  /** Whether a backtick on an earlier line of the paragraph may still open a span. */
  doubt: boolean
  /** Whether the code block does not begin at the margin, so that a list or quote may end it. */
  inner: boolean
  /** Whether nothing stands on the line so far. */
  margin: boolean
  /** Whether only markers of lists and quotes, or values that may be empty, stand on the line. */
  fresh: boolean
  /** Whether the line is empty so far. */
  blank: boolean
  /** Whether the outermost `[` begins the line, so that `]:` would define a link. */
  leads: boolean
  /** Behind `<`, where an address would be a link, or behind `[name]:`, where it defines one. */
  address: 'none' | 'angle' | 'definition'
  /** Whether the text ends with a backslash that would take the escape of a value. */
  backslash: boolean
}

/** Follows Markdown over a template's text: code, links and what is between. */
export const markdownContext: Context<MarkdownState> = {
  initial: {
    at: 'text',
    mark: '',
    url: URL_START,
    brackets: 0,
    used: false,
    doubt: false,
    inner: false,
    margin: true,
    fresh: true,
    blank: true,
    leads: false,
    address: 'none',
    backslash: false,
  },
  literal(state, text, complain) {
    const next = { ...state }
    for (let index = 0; index < text.length;) index += advance(next, text, { index, complain })
    next.backslash = /(?:^|[^\\])(?:\\\\)*\\$/.test(text)
    return next
  },
  value(state, complain) {
    const next = {
      ...state,
      used: true,
      backslash: false,
      margin: false,
      blank: false,
    }
    return { escapers: escapersAt(state, next, complain), next }
  },
  markup: () => false,
  partial(state, complain) {
    if (state.at !== 'text' || state.doubt) {
      complain('unsafe_context', 'a partial cannot stand inside code or a link')
    }
    return state
  },
  loop: (state) => ({ ...state, url: urlLoop(state.url) }),
  join(left, right, complain) {
    if (left.at !== right.at || left.mark !== right.mark) {
      complain(
        'unsafe_context',
        'the block begins or ends inside code or a link',
        'begin and end code and links within one block',
      )
    }
    return {
      at: left.at,
      mark: left.mark,
      url: urlJoin(left.url, right.url),
      brackets: Math.min(left.brackets, right.brackets),
      used: left.used || right.used,
      doubt: left.doubt || right.doubt,
      inner: left.inner || right.inner,
      margin: left.margin && right.margin,
      fresh: left.fresh || right.fresh,
      blank: left.blank && right.blank,
      leads: left.leads || right.leads,
      address: left.address === 'none' ? right.address : left.address,
      backslash: left.backslash || right.backslash,
    }
  },
  end(state, complain) {
    if (state.at !== 'text' && state.used) unclosed(complain)
  },
}

interface Reading {
  readonly index: number
  readonly complain: Complain
}

/** Reads one mark or character, and answers how long it was. */
function advance(state: MarkdownState, text: string, reading: Reading): number {
  const character = text[reading.index]!
  if (character === '\n') {
    endLine(state, reading.complain)
    return 1
  }
  const link = state.at === 'destination' || state.at === 'title'
  // Should the link be none, the backtick could begin code.
  if (link && character === '`') state.doubt = true
  const length = step(state, text, reading)
  state.margin = false
  if (!/\s/.test(character)) state.blank = false
  if (!/[\s>*+\-\d.)]/.test(character)) state.fresh = false
  return length
}

function step(state: MarkdownState, text: string, { index, complain }: Reading): number {
  switch (state.at) {
    case 'text':
      return stepText(state, text, index)
    case 'span':
    case 'block':
      return stepCode(state, text, index)
    case 'destination':
      stepDestination(state, text[index]!, complain)
      return 1
    case 'title':
      if (text[index] === ')') state.at = 'text'
      return text[index] === '\\' ? 2 : 1
    default:
      return 1
  }
}

function stepText(state: MarkdownState, text: string, index: number): number {
  const character = text[index]!
  if (character === '\\') return 2
  const run = runAt(text, index)
  if (run !== '') {
    openCode(state, run, text.slice(index + run.length))
    return run.length
  }
  if (character === '[') {
    if (state.brackets === 0) state.leads = state.fresh
    state.brackets += 1
  } else if (character === ']' && state.brackets > 0) return closeBracket(state, text[index + 1])
  else if (state.address !== 'definition') {
    if (character === '<') state.address = 'angle'
    else if (/[\s>]/.test(character)) state.address = 'none'
  }
  return 1
}

function closeBracket(state: MarkdownState, following: string | undefined): number {
  state.brackets -= 1
  if (following === ':' && state.brackets === 0 && state.leads) state.address = 'definition'
  if (following !== '(') return 1
  Object.assign(state, { at: 'destination', url: URL_START, used: false })
  return 2
}

/** The run of backticks or tildes that begins at `index`; empty where there is none. */
function runAt(text: string, index: number): string {
  return /^(?:`+|~+)/.exec(text.slice(index, index + 100))?.[0] ?? ''
}

function openCode(state: MarkdownState, run: string, rest: string): void {
  const line = rest.split('\n', 1)[0]!
  const tildes = run.startsWith('~')
  const block = run.length >= 3 && state.fresh && (tildes || !line.includes('`'))
  if (tildes && !block) return
  Object.assign(state, {
    at: block ? 'block' : 'span',
    mark: run,
    used: false,
    inner: block && !state.margin,
  })
}

function stepCode(state: MarkdownState, text: string, index: number): number {
  const run = runAt(text, index)
  if (run === '') return 1
  const alike = run[0] === state.mark[0]
  const ends =
    state.at === 'span'
      ? run === state.mark
      : alike && run.length >= state.mark.length && state.fresh
  if (ends) Object.assign(state, { at: 'text', mark: '', used: false })
  return run.length
}

function stepDestination(state: MarkdownState, character: string, complain: Complain): void {
  if (character === ')') state.at = 'text'
  else if (/\s/.test(character)) {
    if (state.url !== URL_START) state.at = 'title'
  } else if (character !== '<' && character !== '>') {
    const next = urlLiteral(state.url, character)
    if (!next) {
      complain(
        'unsafe_url',
        'a value stands before ":" in a URL, so it could choose the scheme',
        'begin the URL with a fixed scheme, or let one value hold the whole URL',
      )
    }
    state.url = next ?? { phase: 'bad', literal: undefined }
  }
}

/** Code spans and links end on their line here, so that it is plain which values stand in code. */
function endLine(state: MarkdownState, complain: Complain): void {
  if (state.at !== 'text' && state.at !== 'block' && state.used) unclosed(complain)
  if (state.at === 'span') state.doubt = true
  if (state.blank) state.doubt = false
  if (state.fresh) state.brackets = 0
  if (state.at !== 'block') Object.assign(state, { at: 'text', mark: '', used: false })
  // A link's definition goes on over lines.
  if (state.blank || state.address === 'angle') state.address = 'none'
  Object.assign(state, { margin: true, fresh: true, blank: true })
}

function unclosed(complain: Complain): void {
  complain(
    'unsafe_context',
    'code or a link with a value in it is not closed',
    'close it on the same line; \\` and \\[ are a backtick and a bracket of the text',
  )
}

function escapersAt(
  state: MarkdownState,
  next: MarkdownState,
  complain: Complain,
): readonly Escaper[] {
  if (state.at === 'span' || state.at === 'block') {
    if (state.inner) {
      complain(
        'unsafe_context',
        'a code block with a value in it must begin at the start of a line, outside lists and quotes',
      )
    }
    return ['markdown-code']
  }
  if (state.backslash) complain('unsafe_context', 'a backslash stands right before a value')
  if (state.doubt) {
    complain(
      'unsafe_context',
      'a backtick before this may begin code that is not closed on its line',
      'write \\` for a backtick that begins no code',
    )
  }
  if (state.at === 'title') return ['markdown', 'quotes']
  if (state.at === 'destination') return inDestination(state, next, complain)
  if (state.address !== 'none') {
    const where = state.address === 'angle' ? 'in angle brackets' : 'in the definition of a link'
    complain('unsafe_context', `a value stands ${where}`, 'write [text]({{url}})')
  }
  return ['markdown']
}

function inDestination(
  state: MarkdownState,
  next: MarkdownState,
  complain: Complain,
): readonly Escaper[] {
  const choice = urlValue(state.url)
  if (!choice) {
    complain('unsafe_url', 'a value stands behind a scheme that runs code, or behind an entity')
    return ['url-part']
  }
  next.url = choice.next
  return [choice.escaper === 'url-begin' ? 'url-any' : choice.escaper, 'markdown-url']
}
