import { expect, test } from 'vitest'
import { markdownDialect, markdownToChat, slackDialect } from '../../src/language/chat-markup.ts'
import { renderText } from '../../src/language/templates.ts'

const slack = (markdown: string) => markdownToChat(markdown, slackDialect)
const plain = (markdown: string) => markdownToChat(markdown, markdownDialect)

test('Markdown becomes what Slack reads', () => {
  expect(
    slack('# Build **failed**\n\nSee *this* ~~old~~ [log](https://example.com/?a=1&b=2).'),
  ).toBe('*Build failed*\n\nSee _this_ ~old~ <https://example.com/?a=1&amp;b=2|log>.')
  expect(slack('- one\n- two\n    1. deep\n    2. deeper\n\n> quoted\n> twice')).toBe(
    '• one\n• two\n    1. deep\n    2. deeper\n\n> quoted\n> twice',
  )
  expect(slack('```js\na < b && `c`\n```\n\nand `x < y`')).toBe(
    '```\na &lt; b &amp;&amp; `c`\n```\n\nand `x &lt; y`',
  )
})

test('Markdown becomes what Discord and cards read', () => {
  expect(plain('# Title\n\n**a** *b* [c_d](https://example.com/x)')).toBe(
    '**Title**\n\n**a** *b* [c\\_d](https://example.com/x)',
  )
})

test('a value calls nobody and adds no link', () => {
  const scope = {
    data: { name: '<!channel> <https://example.org|x> *b* [a](https://example.org) @everyone' },
  }
  const markdown = renderText('Hi {{data.name}}', {
    kind: 'markdown',
    partials: {},
    scope,
    name: 'chat',
  })
  expect(slack(markdown)).toBe(
    'Hi &lt;!channel&gt; &lt;https://example.org|x&gt; *b* [a](https://example.org) @everyone',
  )
  expect(plain(markdown)).toBe(
    'Hi \\<!channel\\> \\<https://example.org\\|x\\> \\*b\\* \\[a\\](https://example.org) @everyone',
  )
})

test('no link leads to a script', () => {
  expect(slack('[x](javascript:alert)')).toBe('[x](javascript:alert)')
})
