const TAG = /<a\b(?:[^>"']|"[^"]*"|'[^']*')*>/gi
const HREF = /(\shref\s*=\s*)("[^"]*"|'[^']*')/i
const NAMED: Readonly<Record<string, string>> = {
  amp: '&',
  quot: '"',
  apos: "'",
  lt: '<',
  gt: '>',
}
const ENTITY = /&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z][a-z0-9]*));/gi

/**
 * The HTML with the links of its `a` elements to websites replaced by what `replace` gives for them, and all else as it
 * was; a link is left alone for which it gives undefined, or whose address stands there in a way that needs more
 * than a parser of addresses.
 */
export function replaceLinks(html: string, replace: (url: string) => string | undefined): string {
  return html.replaceAll(TAG, (tag) =>
    tag.replace(HREF, (whole, before: string, quoted: string) => {
      const url = decode(quoted.slice(1, -1).trim())
      if (url === undefined || !/^https?:\/\//i.test(url) || !URL.canParse(url)) return whole
      const replaced = replace(url)
      return replaced === undefined ? whole : `${before}"${encode(replaced)}"`
    }),
  )
}

/** The HTML with an invisible image at its end. */
export function withPixel(html: string, url: string): string {
  const image = `<img src="${encode(url)}" width="1" height="1" alt="" style="display:block;border:0">`
  const end = html.search(/<\/body\s*>/i)
  return end === -1 ? html + image : html.slice(0, end) + image + html.slice(end)
}

function decode(text: string): string | undefined {
  let isKnown = true
  const decoded = text.replaceAll(
    ENTITY,
    (whole, decimal?: string, hex?: string, name?: string) => {
      const code = decimal ? Number(decimal) : hex ? Number.parseInt(hex, 16) : undefined
      if (code !== undefined && code > 0 && code <= 0x10_ff_ff) return String.fromCodePoint(code)
      const found = name && Object.hasOwn(NAMED, name) ? NAMED[name] : undefined
      if (found === undefined) isKnown = false
      return found ?? whole
    },
  )
  return isKnown ? decoded : undefined
}

function encode(url: string): string {
  return url.replaceAll('&', '&amp;').replaceAll('"', '&quot;').replaceAll('<', '&lt;')
}
