import { tagsOf } from './template-parse.ts'

/**
 * A template whose tags are replaced by marks, so that tools for HTML and CSS can work on it as if it
 * were a document. A mark is what a name, a value, a text and a word of CSS may all hold.
 */
export interface Marked {
  readonly text: string
  readonly tags: readonly Tag[]
}

/** One `{{…}}` of a template. */
export interface Tag {
  readonly source: string
  readonly offset: number
  /** Begins, ends or divides a block: only the same order of these is the same template. */
  readonly isBlock: boolean
}

const BEGIN = '\ue000'
const END = '\ue001'
const MARK = /\ue000(\d+)\ue001(?:="")?/g

/** Whether a text has a mark. */
export function hasMark(text: string): boolean {
  return text.includes(BEGIN)
}

/** Puts marks in the place of the tags. Undefined where the source has such characters of its own. */
export function mark(source: string): Marked | undefined {
  if (source.includes(BEGIN) || source.includes(END)) return undefined
  const tags: Tag[] = []
  let text = ''
  let at = 0
  for (const { tag: found, index } of tagsOf(source)) {
    // The tag of {{{content}}} ends with a third brace.
    const isTriple = found.startsWith('{{{') && source[index + found.length] === '}'
    const tag = isTriple ? `${found}}` : found
    text += source.slice(at, index)
    at = index + tag.length
    if (/^\{\{~?!/.test(tag)) continue
    text += `${BEGIN}${tags.length}${END}`
    tags.push({
      source: tag,
      offset: index,
      isBlock: /^\{\{~?\s*(?:[#^/]|else\b)/.test(tag),
    })
  }
  return { text: text + source.slice(at), tags }
}

/** The tag that got lost or moved, where putting them back would not give the same template. */
export function lostTag({ tags }: Marked, text: string): Tag | undefined {
  const found = [...text.matchAll(MARK)].map((one) => Number(one[1]))
  const seen = new Set(found)
  const gone = tags.find((_, index) => !seen.has(index))
  if (gone) return gone
  const blocks = found.filter((index) => tags[index]?.isBlock)
  const wanted = tags.flatMap((tag, index) => (tag.isBlock ? [index] : []))
  const wrong = wanted.findIndex((index, place) => blocks[place] !== index)
  if (wrong >= 0) return tags[wanted[wrong]!]
  return blocks.length === wanted.length ? undefined : tags[blocks[wanted.length]!]
}

/** The template with its tags back in their places. */
export function unmark({ tags }: Marked, text: string): string {
  return text.replace(MARK, (_, index: string) => tags[Number(index)]?.source ?? '')
}

/** Puts each run of marks of a text into an element. */
export function wrapMarks(text: string, open: string, close: string): string {
  return text.replace(/\ue000\d+\ue001(?:\s*\ue000\d+\ue001)*/g, (run) => open + run + close)
}
