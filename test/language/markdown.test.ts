import { expect, test } from 'vitest'
import { htmlToText } from '../../src/language/html.ts'
import { markdownToHtml } from '../../src/language/markdown.ts'

test('Markdown becomes HTML, and HTML in it becomes text', () => {
  expect(markdownToHtml('**hi** <b>x</b>')).toBe('<p><strong>hi</strong> &lt;b&gt;x&lt;/b&gt;</p>')
})

test.each(['javascript:alert(1)', 'JaVaScRiPt:alert(1)', 'data:text/html,x', 'vbscript:x'])(
  'a link to %s is none',
  (url) => {
    expect(markdownToHtml(`[x](${url})`)).not.toContain('href')
  },
)

test.each(['https://example.com/a', 'mailto:a@example.com', 'tel:+49', '/pages/1', '#top'])(
  'a link to %s is one',
  (url) => {
    expect(markdownToHtml(`[x](${url})`)).toContain(`href="${url}"`)
  },
)

test('the text of a mail keeps its links and leaves out its pictures', () => {
  const html = '<h1>Hi</h1><p>See <a href="https://example.com/x">the page</a></p><img src="x.png">'
  expect(htmlToText(html)).toBe('HI\n\nSee the page [https://example.com/x]')
})
