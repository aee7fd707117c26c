import { describe, expect, test } from 'vitest'
import type { OutputKind } from '../../src/language/templates.ts'
import { renderText } from '../../src/language/templates.ts'

function render(source: string, kind: OutputKind, x: unknown): string {
  return renderText(source, { kind, partials: {}, scope: { x, y: x, no: '' }, name: 'body' })
}

describe('text and lines', () => {
  test.each([
    ['text', '<b>&"\'\n', '<b>&"\'\n'],
    ['line', 'a\r\nBcc: b\n\n\tc\u0000\u0007 ', 'a Bcc: b c'],
    ['line', '<b>&"', '<b>&"'],
    ['line', 'a\u2028b\u0085c', 'a b c'],
  ] as const)('%s: %j becomes %j', (kind, value, expected) => {
    expect(render('{{x}}', kind, value)).toBe(expected)
  })

  test('a line has no breaks of its own either', () => {
    expect(render('a\n  {{x}}\n', 'line', 'b')).toBe('a b')
  })
})

describe('HTML', () => {
  test.each([
    ['<p>{{x}}</p>', '<b>&"\'`=', '<p>&lt;b&gt;&amp;&quot;&#39;&#96;=</p>'],
    ['<p title="{{x}}">', '"><i>', '<p title="&quot;&gt;&lt;i&gt;">'],
    ['<a href="{{x}}">', 'https://a.b/c d?e=f&g=h', '<a href="https://a.b/c%20d?e=f&amp;g=h">'],
    ['<p title="{{x}}">', 'a onclick=b', '<p title="a onclick=b">'],
    ['<a href="{{x}}">', '//a.b', '<a href="//a.b">'],
    ['<a href="{{x}}">', 'mailto:a@b.c', '<a href="mailto:a@b.c">'],
    ['<a href="{{x}}">', 'javascript:alert(1)', '<a href="#blocked">'],
    ['<a href="{{x}}">', ' \u0001jAva\nscr\tipt :alert(1)', '<a href="#blocked">'],
    ['<a href="{{x}}">', 'data:text/html,x', '<a href="#blocked">'],
    ['<a href="{{x}}">', 'vbscript:x', '<a href="#blocked">'],
    ['<a href="{{x}}{{y}}">', 'javascript', '<a href="javascriptjavascript">'],
    ['<a href="{{no}}{{x}}">', 'javascript:x', '<a href="javascript%3Ax">'],
    ['<a href="{{#if no}}/{{/if}}{{x}}">', 'javascript:x', '<a href="javascript%3Ax">'],
    ['<a href="{{#if x}}{{no}}{{/if}}{{x}}">', 'javascript:x', '<a href="javascript%3Ax">'],
    [
      '<a href="https://h/{{x}}?q={{x}}">',
      '../a&b',
      '<a href="https://h/..%2Fa%26b?q=..%2Fa%26b">',
    ],
    [
      '<a href="mailto:{{x}}?subject={{x}}">',
      'a+b@c.d',
      '<a href="mailto:a+b@c.d?subject=a%2Bb%40c.d">',
    ],
    ['<p style="color: {{x}}">', '#12ab', '<p style="color: #12ab">'],
    ['<p style="color: {{x}}">', 'red; x: url(y)', '<p style="color: ">'],
    ['<!-- {{x}} -->', '--><b>', '<!-- &#45;&#45;&gt;&lt;b&gt; -->'],
    [
      '<!--[if mso]><a href="{{x}}"><![endif]-->',
      'a--b',
      '<!--[if mso]><a href="a&#45;&#45;b"><![endif]-->',
    ],
    ['<title>{{x}}</title>', '</title><b>', '<title>&lt;/title&gt;&lt;b&gt;</title>'],
    ['<p>{{x}}</p>', { a: '<' }, '<p>{&quot;a&quot;:&quot;&lt;&quot;}</p>'],
  ])('%s with %j', (source, value, expected) => {
    expect(render(source, 'html', value)).toBe(expected)
  })
})

describe('URLs', () => {
  test.each([
    ['{{x}}', 'https://a.b/c?d=e&f=g#h', 'https://a.b/c?d=e&f=g#h'],
    ['{{x}}', 'myapp://open/1', 'myapp://open/1'],
    ['{{x}}\n', ' https://a.b\n', 'https://a.b'],
    ['{{x}}', 'java\nscript:alert(1)', '#blocked'],
    ['{{x}}', '\u0000\u001fJavaScript:alert(1)', '#blocked'],
    ['{{x}}', 'javascript :alert(1)', '#blocked'],
    ['{{x}}', 'DATA:text/html,x', '#blocked'],
    ['{{x}}', 'vb\tscript:x', '#blocked'],
    ['{{no}}{{x}}', 'javascript:x', 'javascript%3Ax'],
    ['{{x}}/pages/{{x}}', 'https://a.b', 'https://a.b/pages/https%3A%2F%2Fa.b'],
    [
      'https://a.b/{{x}}/c?d={{x}}',
      'é/ ?&#',
      'https://a.b/%C3%A9%2F%20%3F%26%23/c?d=%C3%A9%2F%20%3F%26%23',
    ],
    ['https://a.b/{{x}}/c', '..', 'https://a.b/%252E%252E/c'],
    ['https://a.b/{{x}}', '\ud800', 'https://a.b/%EF%BF%BD'],
    ['tel:{{x}}', '+43 1', 'tel:+43%201'],
    ['{{x}}', 'https://a.b/"<>\\^`{|}', 'https://a.b/%22%3C%3E%5C%5E%60%7B%7C%7D'],
  ])('%s with %j', (source, value, expected) => {
    expect(render(source, 'url', value)).toBe(expected)
  })
})

describe('Markdown', () => {
  test.each([
    ['{{x}}', '**a** _b_ `c` ~~d~~', '\\*\\*a\\*\\* \\_b\\_ \\`c\\` \\~\\~d\\~\\~'],
    [
      '{{x}}',
      'It\'s 5 < 6 & "fine", Ann. Really - yes!',
      'It\'s 5 \\< 6 & "fine", Ann. Really - yes\\!',
    ],
    ['{{x}}', '# a\n- b\r\n\r\n1. c', '\\# a - b 1\\. c'],
    ['{{x}}', '- a', '\\- a'],
    ['{{x}}', '  a  ', '&#32;a&#32;'],
    ['{{x}}', '<b>&amp;', '\\<b>\\&amp;'],
    ['{{x}}', 'see https://a.b/c', 'see https\\:\\//a\\.b/c'],
    ['[a]({{x}})', 'https://a.b/c_(d) "e"', '[a](https://a.b/c\\_%28d%29%20%22e%22)'],
    ['[a]({{x}})', 'javascript:x', '[a](#blocked)'],
    ['[a](https://a.b/{{x}})', 'c/d)', '[a](https://a.b/c%2Fd%29)'],
    ['[a](b "{{x}}")', 'c" d', '[a](b "c\\" d")'],
    ['`{{x}}`', 'a`*b*', "`a'*b*`"],
  ])('%s with %j', (source, value, expected) => {
    expect(render(source, 'markdown', value)).toBe(expected)
  })
})

test('long runs of spaces, digits or braces in a value cost no more than their length', () => {
  const values = ['a' + ' '.repeat(100_000) + 'b', '1'.repeat(100_000) + 'x', '{{'.repeat(50_000)]
  const started = performance.now()
  for (const value of values) {
    const rendering = { partials: {}, scope: { value }, name: 'x' }
    for (const kind of ['html', 'markdown', 'url', 'line', 'text'] as const)
      renderText('{{value}}', { ...rendering, kind })
    expect(renderText('{{#if (gt value 5)}}a{{/if}}', { ...rendering, kind: 'text' })).toBe('')
    renderText('{{size (sort (split value " "))}}', { ...rendering, kind: 'text' })
  }
  // What looks for an end from each place takes half a minute for each of them.
  expect(performance.now() - started).toBeLessThan(10_000)
})
