import { compile } from 'html-to-text'
import { BudgetExceeded } from './template-budget.ts'

/** Characters of an HTML body of which a text is made; that cannot be stopped on its way. */
export const HTML_MAX = 2 ** 20
const ADVICE = 'give the step a "text" of its own, or less HTML'

let convert: ((html: string) => string) | undefined

/** The text of an HTML body, for mail readers that show none: links keep their addresses, images are left out. Throws `BudgetExceeded`. */
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
  if (html.length > HTML_MAX)
    throw new BudgetExceeded(`no text is made of HTML with more than 1 MB; ${ADVICE}`)
  try {
    return convert(html).trim()
  } catch (error) {
    // It goes down into the elements by calls.
    if (!(error instanceof RangeError)) throw error
    throw new BudgetExceeded(
      `no text can be made of the HTML, since its elements are nested too deeply; ${ADVICE}, or close what is open`,
    )
  }
}
