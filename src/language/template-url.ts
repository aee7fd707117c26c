import { unreachable } from '../errors.ts'

/** Where in a URL the next character of a template stands. */
export interface UrlState {
  /**
   * `start`: nothing yet. `open`: no delimiter yet, so a scheme may still follow. `opaque`: behind
   * `mailto:` and the like. `part`: behind a delimiter, no scheme can follow. `mixed`: one of these,
   * depending on a block. `bad`: behind a scheme that runs code.
   */
  readonly phase: 'start' | 'open' | 'opaque' | 'part' | 'mixed' | 'bad'
  /** What stands there so far, where it is all literal. */
  readonly literal: string | undefined
  /** Behind a value, the start of what may be an entity that stands for ":", or for nothing. */
  readonly entity?: string | undefined
}

export const URL_START: UrlState = { phase: 'start', literal: '' }

const CODE_SCHEMES =
  /^(?:javascript|vbscript|livescript|mocha|data|file|blob|filesystem|view-source)$/i
const OPAQUE_SCHEMES = /^(?:mailto|tel|sms|cid)$/i
const KNOWN_BEGINNING = /^(?:(?:https?|mailto|tel|sms|cid):|[^:/?#]*(?:[/?#]|$))/i
/** What browsers skip in a URL, wherever it stands. */
// oxlint-disable-next-line no-control-regex -- control characters are what this is about
const SKIPPED = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g
const BLOCKED = '#blocked'

/** The state behind literal `text`. `undefined`: a scheme that a value may have begun. */
export function urlLiteral(state: UrlState, text: string): UrlState | undefined {
  let next: UrlState | undefined = state
  for (const character of text) {
    if (next === undefined || next.phase === 'part' || next.phase === 'bad') break
    next = behind(next, character)
  }
  return next
}

function behind(state: UrlState, character: string): UrlState | undefined {
  const { phase, literal, entity } = state
  if (entity !== undefined) return behindEntity(state, entity + character, character)
  if (phase === 'opaque') return character === '?' ? { phase: 'part', literal } : state
  if (/[/?#]/.test(character)) return { phase: 'part', literal }
  // An entity could stand for any character, ":" among them.
  if (character === '&') {
    return literal === undefined ? { phase, literal, entity: '&' } : { phase: 'bad', literal }
  }
  if (character === ':') {
    return literal === undefined ? undefined : { phase: schemePhase(literal), literal }
  }
  // Browsers skip spaces and control characters here.
  if (character <= ' ') return state
  const open = phase === 'start' ? 'open' : phase
  return { phase: open, literal: literal === undefined ? undefined : literal + character }
}

/** The entities that a browser reads as ":", or leaves out of a scheme. */
const SCHEME_ENTITIES = ['&#', '&colon', '&tab', '&newline'] as const

/** `undefined`: what a value may have begun as a scheme ends in an entity. `&utm=1` is none. */
function behindEntity(
  { phase, literal }: UrlState,
  entity: string,
  character: string,
): UrlState | undefined {
  const text = entity.toLowerCase()
  if (SCHEME_ENTITIES.some((one) => one === text)) return undefined
  if (SCHEME_ENTITIES.some((one) => one.startsWith(text))) return { phase, literal, entity }
  return behind({ phase, literal }, character)
}

function schemePhase(scheme: string): UrlState['phase'] {
  if (CODE_SCHEMES.test(scheme)) return 'bad'
  return OPAQUE_SCHEMES.test(scheme) ? 'opaque' : 'part'
}

/** Which escaper a value here takes, and the state behind it. `undefined`: none makes it safe. */
export function urlValue(
  state: UrlState,
): { readonly escaper: UrlEscaper; readonly next: UrlState } | undefined {
  // What follows a bare "&" could make it an entity for ":", also without a semicolon.
  if (state.entity !== undefined) return undefined
  switch (state.phase) {
    case 'start':
      return { escaper: 'url-begin', next: { phase: 'open', literal: undefined } }
    case 'open':
      return {
        escaper: state.literal === undefined ? 'url-next' : 'url-part',
        next: { phase: 'open', literal: undefined },
      }
    case 'opaque':
      return { escaper: 'url-opaque', next: state }
    case 'part':
    case 'mixed':
      return { escaper: 'url-part', next: state }
    case 'bad':
      return undefined
    default:
      return unreachable(state.phase)
  }
}

/** The state behind a block whose ways end in `left` and `right`. */
export function urlJoin(left: UrlState, right: UrlState): UrlState {
  const { entity } = left
  if (entity !== right.entity) {
    // Only one of them can be on its way to an entity that matters; of two, neither is followed.
    if (entity !== undefined && right.entity !== undefined) return BAD
    const joined = urlJoin({ ...left, entity: undefined }, { ...right, entity: undefined })
    return { ...joined, entity: entity ?? right.entity }
  }
  if (left.phase === right.phase && left.literal === right.literal) return left
  if (left.phase === 'bad' || right.phase === 'bad') return BAD
  if (left.phase === right.phase && left.phase !== 'start') {
    return { phase: left.phase, literal: undefined, entity }
  }
  return { phase: 'mixed', literal: undefined, entity }
}

const BAD: UrlState = { phase: 'bad', literal: undefined }

/** The state in which a loop's body begins, which may have run before. */
export function urlLoop(state: UrlState): UrlState {
  return state.phase === 'part' || state.phase === 'bad'
    ? state
    : { phase: 'mixed', literal: undefined, entity: state.entity }
}

export type UrlEscaper = 'url-begin' | 'url-any' | 'url-next' | 'url-part' | 'url-opaque'

/** A value that begins a URL in HTML: of a scheme that mail and browsers only follow, or relative. */
export function urlBegin(value: string): string {
  const url = plainUrl(value)
  return KNOWN_BEGINNING.test(url) ? url : BLOCKED
}

/** A value that begins a URL of an app, whose scheme may be the app's own; none that runs code. */
export function urlAny(value: string): string {
  const url = plainUrl(value)
  return runsCode(url) ? BLOCKED : url
}

/** A value right behind another one: a path, query or fragment as it is, else one part. */
export function urlNext(value: string): string {
  return /^[/?#]/.test(value) ? plainUrl(value) : urlPart(value)
}

/** A value that stays in its part of a URL. */
export function urlPart(value: string): string {
  // A part of dots alone would climb to another path, also when its dots are percent-encoded once.
  if (value === '.' || value === '..') return value.replaceAll('.', '%252E')
  return encodeURIComponent(value.toWellFormed())
}

/** A value in an address behind `mailto:` or `tel:`. */
export function urlOpaque(value: string): string {
  return encodeURIComponent(value.toWellFormed()).replace(/%40/g, '@').replace(/%2B/g, '+')
}

/** A whole rendered URL, checked once more. */
export function wholeUrl(text: string): string {
  const url = plainUrl(text)
  return runsCode(url) ? BLOCKED : url
}

function runsCode(url: string): boolean {
  const scheme = /^([^:/?#]*):/.exec(url)?.[1]
  return scheme !== undefined && CODE_SCHEMES.test(scheme.replace(/%20/g, ''))
}

function plainUrl(value: string): string {
  return value
    .replace(SKIPPED, '')
    .trim()
    .toWellFormed()
    .replace(/[\s"<>\\^`{|}]/g, (character) => encodeURIComponent(character))
}
