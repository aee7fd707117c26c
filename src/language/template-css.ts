import { createRequire } from 'node:module'
import type JuiceModule from 'juice'
import { lostTag, mark, unmark } from './template-marks.ts'

type Juice = typeof JuiceModule

let juice: Juice | undefined

function load(): Juice {
  juice ??= (createRequire(import.meta.url)('juice') as { readonly default: Juice }).default
  return juice
}

const STYLE = /<style\b[^>]*>([\s\S]*?)<\/style\s*>/gi

/** The rules of the style elements of a document; empty where it has none. */
export function stylesOf(html: string): string {
  return [...html.matchAll(STYLE)].map((found) => found[1] ?? '').join('\n')
}

/**
 * A template of HTML with the rules of its own style elements, or of `css`, written into the style
 * attributes of the elements they select. What cannot be written there (media queries, `:hover`)
 * stays. A template whose elements do not close where they should is answered as it is.
 */
export function inlineTemplate(source: string, css?: string): string {
  if (css === undefined ? stylesOf(source).trim() === '' : css.trim() === '') return source
  const marked = mark(source)
  if (!marked) return source
  const made = inlineStyles(marked.text, css)
  return lostTag(marked, made) || shapeOf(made) !== shapeOf(marked.text)
    ? source
    : unmark(marked, made)
}

/** A piece of rendered HTML with the rules of `css` in its style attributes. */
export function inlineStyles(html: string, css?: string): string {
  if (css === undefined) return load()(html, OPTIONS)
  return load()(html, { ...OPTIONS, extraCss: css, applyStyleTags: false, removeStyleTags: false })
}

const OPTIONS = { insertPreservedExtraCss: false, inlinePseudoElements: false } as const

/** The elements as they open and close, which must be the same before and after. */
function shapeOf(html: string): string {
  return [...html.replace(STYLE, '').matchAll(/<\/?[a-z][^\s>/]*/gi)]
    .map(([tag]) => tag.toLowerCase())
    .join('')
}
