import { describe, expect, test } from 'vitest'
import { replaceLinks, withPixel } from '../../src/language/html-links.ts'

function seen(html: string): readonly string[] {
  const urls: string[] = []
  replaceLinks(html, (url) => void urls.push(url))
  return urls
}

describe('links of a mail', () => {
  test('are those of its a elements that lead to websites', () => {
    const html =
      '<a href="https://example.com/a">A</a> <A class="x>y" HREF=\'http://example.com/b\'>B</A>' +
      '<a href="mailto:a@example.com">C</a><a href="#top">D</a><a name="x">E</a>' +
      '<area href="https://example.com/area"><abbr href="https://example.com/abbr">F</abbr>'
    expect(seen(html)).toEqual(['https://example.com/a', 'http://example.com/b'])
  })

  test('are read as a mail program reads them, and left alone where that is not sure', () => {
    expect(seen('<a href="https://example.com/?a=1&amp;b&#x3D;2&#38;c">A</a>')).toEqual([
      'https://example.com/?a=1&b=2&c',
    ])
    expect(seen('<a href="https://example.com/?x&copy;y">A</a>')).toEqual([])
  })

  test('are written so that they cannot leave their attribute', () => {
    const html = `<p><a class="b" href='https://example.com/a'>A</a></p>`
    expect(replaceLinks(html, () => 'https://t.example.com/?a&"><script>')).toBe(
      '<p><a class="b" href="https://t.example.com/?a&amp;&quot;>&lt;script>">A</a></p>',
    )
    expect(replaceLinks(html, () => undefined)).toBe(html)
  })

  test('an image stands at the end of the body', () => {
    expect(withPixel('<body>Hi</BODY ></html>', 'https://e/o')).toMatch(
      /^<body>Hi<img [^>]+><\/BODY ><\/html>$/,
    )
    expect(withPixel('Hi', 'https://e/o')).toMatch(/^Hi<img src="https:\/\/e\/o" /)
  })
})
