/** As programs find addresses in a text: up to a space or what cannot stand in one. */
const URL_IN_TEXT = /\bhttps?:\/\/[^\s<>"“”«»（）「」『』。，、！？]+/gi
/** Marks that belong to the sentence when they stand behind an address. */
const BEHIND = /[.,;:!?'’)\]}]/
const PAIRS: Readonly<Record<string, string>> = { ')': '(', ']': '[', '}': '{' }
const OPENING = new Set(Object.values(PAIRS))

/**
 * The text with the addresses of websites in it replaced by what `replace` gives for them, and all else as it was; one is
 * left alone for which it gives undefined.
 */
export function replaceTextLinks(
  text: string,
  replace: (url: string) => string | undefined,
): string {
  return text.replaceAll(URL_IN_TEXT, (found) => {
    const url = withoutSentence(found)
    if (!URL.canParse(url)) return found
    return (replace(url) ?? url) + found.slice(url.length)
  })
}

function withoutSentence(found: string): string {
  let end = found.length
  let open: Record<string, number> | undefined
  for (; BEHIND.test(found[end - 1] ?? ''); end -= 1) {
    const opening = PAIRS[found[end - 1] ?? '']
    if (opening === undefined) continue
    open ??= openBrackets(found)
    // One that was opened inside the address belongs to it.
    const left = open[opening] ?? 0
    if (left >= 0) break
    open[opening] = left + 1
  }
  return found.slice(0, end)
}

/** How many brackets of each kind are opened more often than closed. */
function openBrackets(text: string): Record<string, number> {
  const open: Record<string, number> = {}
  for (const mark of text) {
    const closed = PAIRS[mark]
    if (closed !== undefined) open[closed] = (open[closed] ?? 0) - 1
    else if (OPENING.has(mark)) open[mark] = (open[mark] ?? 0) + 1
  }
  return open
}
