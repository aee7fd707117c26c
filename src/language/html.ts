import { compile } from 'html-to-text'

let convert: ((html: string) => string) | undefined

/** The text of an HTML body, for mail readers that show none: links keep their addresses, images are left out. */
export function htmlToText(html: string): string {
  convert ??= compile({
    wordwrap: 78,
    selectors: [
      { selector: 'img', format: 'skip' },
      // What mail programs show behind the subject, and nobody sees in the mail.
      { selector: '[style*="display:none"]', format: 'skip' },
      { selector: 'a', options: { hideLinkHrefIfSameAsText: true } },
      { selector: 'table', format: 'block' },
    ],
  })
  return convert(html).trim()
}
