import type { Escaper } from './template-escape.ts'
import type { Complain, Context } from './template-rewrite.ts'
import type { UrlState } from './template-url.ts'
import { URL_START, urlJoin, urlLiteral, urlLoop, urlValue } from './template-url.ts'

interface HtmlState {
  /**
   * `open`: in a tag's name. `tag`: before an attribute's name. `gap`: where a block may or may not
   * have ended a name. `markup`: in a declaration that ends at `>`.
   */
  at: 'text' | 'open' | 'tag' | 'name' | 'after' | 'equals' | 'value' | 'gap' | 'markup'
  /** The element whose text is not markup, such as `style`; else empty. */
  raw: string
  /** Name of the open tag, with `/` in front of an end tag's. */
  tag: string
  attribute: string
  quote: string
  url: UrlState
  comment: 'no' | 'plain' | 'conditional'
  /** The last characters of a comment or of raw text, where its end is looked for. */
  tail: string
}

const RAW = /^(?:script|style|title|textarea|xmp|iframe|noembed|noframes|plaintext)$/
const URL_ATTRIBUTE =
  /^(?:href|src|action|formaction|background|cite|poster|data|longdesc|ping|manifest|codebase|usemap|icon|dynsrc|lowsrc|profile|classid|archive|.*:href)$/
const REFUSED_ATTRIBUTE = /^(?:on.*|srcset|imagesrcset|srcdoc|http-equiv|attributename)$/
const REFUSED_TAG = /^(?:script|base|embed|object|applet|param|animate.*|set)$/
const TAIL_MAX = 12

/** Follows HTML over a template's text, comments for Outlook included. */
export const htmlContext: Context<HtmlState> = {
  initial: {
    at: 'text',
    raw: '',
    tag: '',
    attribute: '',
    quote: '',
    url: URL_START,
    comment: 'no',
    tail: '',
  },
  literal(state, text, complain) {
    const next = { ...state }
    for (const character of text) advance(next, character, complain)
    return next
  },
  value,
  markup: (state) => state.at === 'text' && state.raw === '' && state.comment === 'no',
  partial(state, complain) {
    if (!htmlContext.markup(state)) {
      complain(
        'unsafe_context',
        'a partial can stand only between tags, not inside a tag, a comment or a style',
      )
    }
    return state
  },
  loop: (state) => (state.at === 'value' ? { ...state, url: urlLoop(state.url) } : state),
  join,
  end(state, complain) {
    if (state.at !== 'text') complain('unclosed_html', 'the template ends inside a tag')
    else if (state.comment !== 'no') complain('unclosed_html', 'the template ends inside a comment')
    else if (state.raw) complain('unclosed_html', `the template ends inside <${state.raw}>`)
  },
}

function advance(state: HtmlState, character: string, complain: Complain): void {
  if (state.comment !== 'no' || state.raw !== '') {
    state.tail = (state.tail + character).slice(-TAIL_MAX).toLowerCase()
    if (advanceHidden(state, character)) return
  }
  ADVANCE[state.at](state, character, complain)
}

type Advance = (state: HtmlState, character: string, complain: Complain) => void

const ADVANCE: Readonly<Record<HtmlState['at'], Advance>> = {
  text: (state, character) => {
    if (character === '<') Object.assign(state, { at: 'open', tag: '' })
  },
  markup: (state, character) => {
    if (character === '>') state.at = 'text'
  },
  open: advanceOpen,
  tag: advanceTag,
  name: advanceTag,
  after: advanceTag,
  equals: advanceEquals,
  value: advanceValue,
  gap: advanceGap,
}

/** Comments and raw text, which end only at their own mark. True: the character is done with. */
function advanceHidden(state: HtmlState, character: string): boolean {
  if (state.comment !== 'no' && /--!?>$/.test(state.tail)) {
    Object.assign(state, { comment: 'no', at: 'text', raw: '', tail: '' })
    return true
  }
  if (state.comment === 'plain') {
    if (state.tail === '--[if') Object.assign(state, { comment: 'conditional', at: 'markup' })
    return true
  }
  if (state.raw === '' || state.at !== 'text') return false
  if (state.raw !== 'plaintext' && /[\s/>]/.test(character)) {
    if (state.tail.slice(0, -1).endsWith(`</${state.raw}`)) {
      Object.assign(state, {
        at: character === '>' ? 'text' : 'tag',
        tag: `/${state.raw}`,
        raw: '',
      })
    }
  }
  return true
}

function advanceOpen(state: HtmlState, character: string, complain: Complain): void {
  if (state.tag.startsWith('!')) advanceDeclaration(state, character, complain)
  else if (/[a-z]/.test(state.tag)) advanceTagName(state, character)
  else if (/[a-z]/i.test(character)) state.tag += character.toLowerCase()
  else if (state.tag === '/') advanceBroken(state, character, complain)
  else if (character === '/' || character === '!') state.tag = character
  else if (character === '?') state.at = 'markup'
  else if (character !== '<') state.at = 'text'
}

function advanceTagName(state: HtmlState, character: string): void {
  if (character === '>') closeTag(state)
  else if (/[\s/]/.test(character)) state.at = 'tag'
  else state.tag += character.toLowerCase()
}

function advanceDeclaration(state: HtmlState, character: string, complain: Complain): void {
  state.tag += character
  if (state.tag === '!--') Object.assign(state, { at: 'text', comment: 'plain', tail: '--' })
  else if (/^!(?:[a-z]|\[)$/i.test(state.tag)) state.at = 'markup'
  else if (state.tag !== '!-') advanceBroken(state, character, complain)
}

/** Programs do not agree on where such markup ends. */
function advanceBroken(state: HtmlState, character: string, complain: Complain): void {
  complain('unsafe_context', `"<${state.tag.slice(0, 2)}" begins no tag`, 'write &lt; for a "<"')
  state.at = character === '>' ? 'text' : 'markup'
}

function advanceTag(state: HtmlState, character: string, complain: Complain): void {
  if (character === '>') closeTag(state)
  else if (character === '/') state.at = 'tag'
  else if (/\s/.test(character)) {
    if (state.at === 'name') state.at = 'after'
  } else if (character === '=' && state.at !== 'tag') state.at = 'equals'
  else if (state.at === 'name') state.attribute += character.toLowerCase()
  else beginName(state, character, complain)
}

/** Programs do not agree on where an end tag with quotes in it ends. */
function beginName(state: HtmlState, character: string, complain: Complain): void {
  if (state.tag.startsWith('/')) {
    complain('unsafe_context', `the end tag <${state.tag}> cannot have attributes`)
  }
  Object.assign(state, { at: 'name', attribute: character.toLowerCase() })
}

function advanceEquals(state: HtmlState, character: string, complain: Complain): void {
  if (character === '>') closeTag(state)
  else if (!/\s/.test(character)) {
    const quoted = character === '"' || character === "'"
    Object.assign(state, { at: 'value', quote: quoted ? character : '', url: URL_START })
    if (!quoted) advanceValue(state, character, complain)
  }
}

function advanceValue(state: HtmlState, character: string, complain: Complain): void {
  if (state.quote === '' && character === '>') closeTag(state)
  else if (state.quote === '' ? /\s/.test(character) : character === state.quote) state.at = 'tag'
  else if (URL_ATTRIBUTE.test(state.attribute)) {
    const next = urlLiteral(state.url, character)
    if (next) state.url = next
    else {
      complain(
        'unsafe_url',
        'a value stands before ":" in a URL, so it could choose the scheme',
        'begin the URL with a fixed scheme, or let one value hold the whole URL',
      )
      state.url = { phase: 'bad', literal: undefined }
    }
  }
}

/** A name that a block may have ended can only end here, not go on and not get a value. */
function advanceGap(state: HtmlState, character: string, complain: Complain): void {
  if (character === '>') closeTag(state)
  else if (character === '/') state.at = 'tag'
  else if (/\s/.test(character)) state.attribute = ' '
  else if (state.attribute === ' ' && character !== '=') {
    beginName(state, character, complain)
  } else {
    complain('unsafe_context', 'a block ends in the middle of a name, which then goes on')
    Object.assign(state, { at: 'name', attribute: 'on' })
  }
}

function closeTag(state: HtmlState): void {
  Object.assign(state, { at: 'text', raw: RAW.test(state.tag) ? state.tag : '', tail: '' })
}

function value(
  state: HtmlState,
  complain: Complain,
): { escapers: readonly Escaper[]; next: HtmlState } {
  const next = { ...state, tail: '' }
  if (state.comment !== 'no' && state.tail.endsWith('-')) {
    complain('unsafe_context', 'a value stands in the mark that ends a comment')
  }
  if (state.comment === 'plain') return { escapers: ['html', 'dash'], next }
  const escapers: Escaper[] = state.at === 'text' ? inText(state, complain) : []
  if (state.at === 'value') escapers.push(...inAttribute(state, next, complain))
  else if (state.at !== 'text') {
    escapers.push('html')
    complain(
      'unsafe_context',
      'a value stands inside a tag, outside the quotes of an attribute',
      'write attribute="{{value}}"',
    )
  }
  if (state.comment === 'conditional') escapers.push('dash')
  return { escapers, next }
}

function inText(state: HtmlState, complain: Complain): Escaper[] {
  if (state.raw === '') return ['html']
  if (/<\/?[a-z]*$/.test(state.tail)) {
    complain('unsafe_context', `a value stands in the tag that ends <${state.raw}>`)
  }
  if (state.raw === 'style') return ['css']
  if (state.raw !== 'title' && state.raw !== 'textarea') {
    complain('unsafe_context', `a value cannot stand inside <${state.raw}>`)
  }
  return ['html']
}

function inAttribute(state: HtmlState, next: HtmlState, complain: Complain): readonly Escaper[] {
  const { attribute, tag } = state
  if (state.quote === '') {
    complain('unsafe_context', 'an attribute with a value needs quotes', `write ${attribute}="…"`)
  }
  if (REFUSED_TAG.test(tag) || (tag === 'meta' && attribute === 'content')) {
    complain('unsafe_context', `a value cannot stand in <${tag} ${attribute}>`)
  } else if (REFUSED_ATTRIBUTE.test(attribute)) {
    complain('unsafe_context', `a value cannot stand in the attribute ${attribute}`)
  }
  if (attribute === 'style') return ['css']
  if (!URL_ATTRIBUTE.test(attribute)) return ['html']
  const choice = urlValue(state.url)
  if (!choice) {
    complain('unsafe_url', 'a value stands behind a scheme that runs code, or behind an entity')
    return ['url-part', 'html']
  }
  next.url = choice.next
  return [choice.escaper, 'html']
}

function join(left: HtmlState, right: HtmlState, complain: Complain): HtmlState {
  const between = /^(?:open|tag|name|after|gap)$/
  if (keyOf(left) === keyOf(right)) return { ...left, url: urlJoin(left.url, right.url) }
  const inTag = between.test(left.at) && between.test(right.at) && left.tag === right.tag
  if (inTag && left.raw === right.raw && left.comment === right.comment) {
    return { ...left, at: 'gap', attribute: '' }
  }
  complain(
    'unsafe_context',
    'the block ends in another HTML context than it begins in',
    'open and close tags, quotes and comments within one block',
  )
  return left
}

/** What must be the same on each way through a block. */
function keyOf(state: HtmlState): string {
  const { at, raw, comment } = state
  const inTag = at === 'text' || at === 'markup' ? '' : state.tag
  const name = at === 'value' || at === 'name' || at === 'equals' || at === 'after'
  const ending = raw || comment !== 'no' ? (/(?:<[^>]*|-+)$/.exec(state.tail)?.[0] ?? '') : ''
  return [
    at,
    raw,
    comment,
    inTag,
    name ? state.attribute : '',
    at === 'value' ? state.quote : '',
    ending,
  ].join('|')
}
