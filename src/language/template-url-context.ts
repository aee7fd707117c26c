import type { Complain, Context } from './template-rewrite.ts'
import type { UrlState } from './template-url.ts'
import { URL_START, urlJoin, urlLiteral, urlLoop, urlValue } from './template-url.ts'

const BAD: UrlState = { phase: 'bad', literal: undefined }

/** Follows one URL over a template that is nothing else. */
export const urlContext: Context<UrlState> = {
  initial: URL_START,
  literal(state, text, complain) {
    const next = urlLiteral(state, text)
    if (next) return next
    schemeProblem(complain)
    return BAD
  },
  value(state, complain) {
    const choice = urlValue(state)
    if (!choice) {
      complain('unsafe_url', 'a value stands behind a scheme that runs code')
      return { escapers: ['url-part'], next: BAD }
    }
    const escaper = choice.escaper === 'url-begin' ? 'url-any' : choice.escaper
    return { escapers: [escaper], next: choice.next }
  },
  markup: () => false,
  partial(state, complain) {
    if (state.phase !== 'start') {
      complain('unsafe_context', 'a partial can only begin a URL')
    }
    return { phase: 'mixed', literal: undefined }
  },
  loop: urlLoop,
  join: urlJoin,
  end: () => undefined,
}

function schemeProblem(complain: Complain): void {
  complain(
    'unsafe_url',
    'a value stands before ":" in the URL, so it could choose the scheme',
    'begin the URL with a fixed scheme, or let one value hold the whole URL',
  )
}
