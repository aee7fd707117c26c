import { brokenEnvironments } from './broken-environments.ts'
import { brokenDirectories } from './broken-directories.ts'
import { brokenWorkflow as workflow, inApp, step, type BrokenFiles } from './files.ts'

const WORKFLOW = 'workflows/welcome/workflow.yaml'

const SOUND = inApp('Hello')
const STEPS = SOUND.slice(SOUND.indexOf('steps:'))

function nested(depth: number): string {
  const lines = ['name: Welcome', 'steps:']
  for (let level = 0; level <= depth; level++) {
    const indent = '  '.repeat(level * 3 + 1)
    if (level === depth) lines.push(`${indent}- {ref: last, type: in_app, body: Hello}`)
    else {
      lines.push(`${indent}- ref: branch_${level}`, `${indent}  type: branch`)
      lines.push(`${indent}  branches:`, `${indent}    - name: only`, `${indent}      steps:`)
    }
  }
  return lines.join('\n')
}

const manySteps = Array.from(
  { length: 101 },
  (_, index) => `  - {ref: step_${index}, type: in_app, body: Hello}`,
)
const ten = (name: string): string => `[${Array.from({ length: 10 }, () => name).join(', ')}]`
const ALIAS_BOMB = `a: &a ${ten('x')}
b: &b ${ten('*a')}
c: &c ${ten('*b')}
d: &d ${ten('*c')}
e: &e ${ten('*d')}
`

const GRAMMAR: readonly BrokenFiles[] = [
  workflow('an empty file', '', '1:1 empty_file'),
  workflow('nothing but a comment', '# later\n', '1:1 empty_file'),
  workflow('a quoted text that is cut off', 'name: "Welc', '1:12 invalid_yaml'),
  workflow('a list that is cut off', 'name: Welcome\nsteps: [{ref: a, type:', '2:23 invalid_yaml'),
  workflow('a tab as indentation', 'name: Welcome\nsteps:\n\t- ref: a\n', '3:1 tab_indentation'),
  workflow('UTF-16', Buffer.from(`\ufeff${SOUND}`, 'utf16le'), '1:1 invalid_encoding'),
  workflow(
    'bytes that are not UTF-8',
    Buffer.concat([Buffer.from('name: Gr\u00fc'), Buffer.from([0xdf, 0x65]), Buffer.from('\n')]),
    '1:10 invalid_encoding',
  ),
  workflow('a byte order mark inside', 'name: \ufeffWelcome\n', '1:7 invalid_character'),
  workflow('a NUL', 'name: Wel\0come\n', '1:10 invalid_character'),
  workflow('a bell', 'name: Welcome\ndescription: "\u0007"\n', '2:15 invalid_character'),
  workflow('carriage returns as line ends', 'name: Welcome\rsteps: []\r', '1:14 invalid_character'),
  workflow('an escape for NUL', inApp('"a\\0b"'), '5:11 invalid_character'),
  workflow('half a character as an escape', inApp('"\\ud83d"'), '5:11 invalid_character'),
  workflow('a key twice', `name: Other\n${SOUND}`, '2:1 duplicate_key'),
  workflow(
    'a key twice in a flow map',
    `name: Welcome\nsteps: [{ref: a, type: in_app, body: a, body: b}]\n`,
    '2:41 duplicate_key',
  ),
  workflow('two documents', `${SOUND}---\nname: Other\n`, '6:1 several_documents'),
  workflow('an alias bomb', ALIAS_BOMB, '5:7 too_many_values'),
  workflow('an alias to nothing', inApp('*gone'), '5:11 unknown_alias'),
  workflow('an alias inside what it names', 'name: &n [*n]\n', '1:11 alias_loop'),
  workflow('a tag', inApp('!secret token'), '5:11 unknown_tag'),
  workflow(
    'a number too large to be exact',
    `name: 9007199254740993\n${STEPS}`,
    '1:7 invalid_number',
  ),
  workflow('infinity', `name: .inf\n${STEPS}`, '1:7 invalid_number'),
  workflow('not a number', `name: .nan\n${STEPS}`, '1:7 invalid_number'),
  workflow(
    'lists deep in each other',
    `name: ${'['.repeat(200)}${']'.repeat(200)}`,
    '1:70 nesting_limit',
  ),
  workflow('maps too deep for the parser', `name: ${'{a: '.repeat(9_000)}`, '1:263 nesting_limit'),
  workflow('a key that is a prototype', `__proto__: {}\n${SOUND}`, '1:1 reserved_key'),
  workflow('a key that is a list', '? [name]\n: Welcome\n', '1:3 invalid_key'),
  workflow('a colon in a plain value', 'name: Welcome: to Belfry\n', '1:7 invalid_yaml'),
  workflow('an item beside a key', 'name: Welcome\n- ref: a\n', '2:1 invalid_yaml'),
  workflow('a line without a colon', 'name: Welcome\nsteps\n', '2:1 invalid_yaml'),
  workflow('a value that starts with @', 'name: @welcome\n', '1:7 invalid_yaml'),
  workflow('300 kB', `name: ${'x'.repeat(300_000)}\n`, '1:1 file_too_large'),
  workflow('10 MB', Buffer.alloc(10 * 1024 * 1024, 'a'), '1:1 file_too_large'),
  {
    name: 'JSON with a comma too many',
    files: { 'workflows/welcome/workflow.json': '{\n  "name": "Welcome",\n}' },
    diagnostic: 'workflows/welcome/workflow.json:3:1 invalid_json',
  },
  {
    name: 'JSON that is cut off',
    files: { 'workflows/welcome/workflow.json': '{ "name": "Welcome", "steps": [' },
    diagnostic: 'workflows/welcome/workflow.json:1:32 invalid_json',
  },
  {
    name: 'YAML in a JSON file',
    files: { 'workflows/welcome/workflow.json': SOUND },
    diagnostic: 'workflows/welcome/workflow.json:1:2 invalid_json',
  },
]

const SHAPE: readonly BrokenFiles[] = [
  workflow('a list at the top', '- name: Welcome\n', '1:1 wrong_type'),
  workflow('an unknown key', `tag: [a]\n${SOUND}`, '1:1 unknown_key'),
  workflow('a misspelt key', SOUND.replace('name', 'nmae'), '1:1 unknown_key'),
  workflow('no name', SOUND.replace('name: Welcome\n', ''), '1:1 missing_key'),
  workflow('no steps', 'name: Welcome\n', '1:1 missing_key'),
  workflow('no step', 'name: Welcome\nsteps: []\n', '2:8 invalid_value'),
  workflow('a number as name', SOUND.replace('Welcome', '7'), '1:7 wrong_type'),
  workflow('a step that is a text', 'name: Welcome\nsteps:\n  - email\n', '3:5 wrong_type'),
  workflow('an unknown type of step', step('type: emial', 'subject: Hello'), '4:11 unknown_type'),
  workflow('a step without a type', step('body: Hello'), '3:5 missing_key'),
  workflow(
    'a step without a ref',
    'name: W\nsteps:\n  - type: in_app\n    body: x\n',
    '3:5 missing_key',
  ),
  workflow('a ref with a capital', SOUND.replace('first', 'First'), '3:10 invalid_value'),
  workflow('a step without its body', step('type: in_app'), '3:5 missing_key'),
  workflow(
    'an unknown key of a step',
    step('type: in_app', 'body: x', 'sound: on'),
    '6:5 unknown_key',
  ),
  workflow(
    'an unknown method',
    step('type: webhook', 'url: https://example.com', 'method: PSOT'),
    '6:13 invalid_value',
  ),
  workflow(
    'three buttons',
    step(
      'type: in_app',
      'body: x',
      `buttons: [${Array(3).fill('{label: a, action: b}').join(', ')}]`,
    ),
    '6:14 invalid_value',
  ),
  workflow(
    'the same ref twice',
    `${SOUND}  - ref: first\n    type: in_app\n    body: x\n`,
    '6:10 duplicate_ref',
  ),
  workflow('101 steps', `name: Welcome\nsteps:\n${manySteps.join('\n')}\n`, '3:3 invalid_value'),
  workflow('branches six deep', nested(6), '33:41 depth_limit'),
  workflow(
    'conditions on a branch step',
    step('type: branch', 'conditions: {all: []}', 'branches: [{name: a, steps: []}]'),
    '5:5 unknown_key',
  ),
  workflow(
    'eleven branches',
    step(
      'type: branch',
      'branches:',
      ...Array.from({ length: 11 }, () => '  - {name: a, steps: []}'),
    ),
    '6:7 invalid_value',
  ),
  workflow('an e-mail without a body', step('type: email', 'subject: Hello'), '3:5 missing_key'),
  workflow(
    'an e-mail with two bodies',
    step('type: email', 'subject: Hello', 'html: a', 'markdown: b'),
    '7:5 conflicting_keys',
  ),
  workflow(
    'a header that is not ours to set',
    step('type: email', 'subject: a', 'html: b', 'headers: {Bcc: c}'),
    '7:15 reserved_header',
  ),
  workflow(
    'a fetch with a header that is not ours to set',
    step('type: fetch', 'url: https://example.com', 'headers: {Idempotency-Key: c}'),
    '6:15 reserved_header',
  ),
  workflow(
    'overrides of a provider that does not exist',
    step('type: sms', 'body: a', 'overrides: {twillio: {a: 1}}'),
    '6:17 unknown_provider',
  ),
  workflow(
    'overrides of a provider of another type',
    step('type: sms', 'body: a', 'overrides: {fcm: {a: 1}}'),
    '6:17 unknown_provider',
  ),
  workflow(
    'overrides of a provider that takes none',
    step('type: email', 'subject: a', 'html: b', 'overrides: {smtp: {a: 1}}'),
    '7:17 unknown_provider',
  ),
  workflow(
    'overrides that move a message to somebody else',
    step('type: push', 'title: a', 'body: b', 'overrides: {fcm: {message: {token: c}}}'),
    '7:33 reserved_override',
  ),
  workflow(
    'overrides that are no map',
    step('type: sms', 'body: a', "overrides: {twilio: '{{data.fields}}'}"),
    '6:25 wrong_type',
  ),
  workflow(
    'a helper in overrides that does not exist',
    step('type: sms', 'body: a', "overrides: {twilio: {Tag: '{{nothing data.a}}'}}"),
    '6:34 unknown_helper',
  ),
  workflow(
    'a body of a request that has none',
    step('type: fetch', 'url: https://example.com', 'body: {a: 1}'),
    '6:5 body_of_get',
  ),
  workflow(
    'an answer that goes nowhere',
    step('type: fetch', 'url: https://example.com', 'into: data.'),
    '6:11 invalid_value',
  ),
  workflow(
    'a signature by what is no variable',
    step('type: fetch', 'url: https://example.com', 'sign_with: data.key'),
    '6:16 invalid_value',
  ),
  workflow('a delay without an end', step('type: delay'), '3:5 missing_key'),
  workflow('a delay of two years', step('type: delay', 'for: 730d'), '5:5 invalid_value'),
  workflow('a path to nowhere', step('type: delay', 'until: later'), '5:12 invalid_value'),
  ...(
    [
      ['a condition without an operator', '{variable: data.a}', '1:20 missing_key'],
      [
        'an unknown operator',
        '{variable: data.a, operator: equals, argument: 1}',
        '1:49 invalid_value',
      ],
      ['a variable of no one', '{variable: page.a, operator: exists}', '1:31 unknown_prefix'],
      [
        'a condition without an argument',
        '{variable: data.a, operator: equal_to}',
        '1:20 missing_argument',
      ],
      [
        'an argument that is no time',
        '{variable: data.a, operator: is_timestamp_before, argument: soon}',
        '1:80 invalid_argument',
      ],
    ] as const
  ).map(([name, condition, place]) =>
    workflow(name, `conditions: {all: [${condition}]}\n${SOUND}`, place),
  ),
  workflow(
    'a schema that is none',
    `trigger: {data_schema: {type: objct}}\n${SOUND}`,
    '1:31 invalid_data_schema',
  ),
  workflow(
    'an event without recipients',
    `trigger: {events: [{source: crm, event: Signed Up}]}\n${SOUND}`,
    '1:20 missing_key',
  ),
  workflow(
    'a broken template of an event',
    `trigger: {events: [{source: crm, event: Signed Up, recipients: "{{event.id"}]}\n${SOUND}`,
    '1:73 invalid_template',
  ),
  workflow(
    'data that whoever joins an audience does not bring',
    `trigger: {audiences: [beta], data_schema: {required: [page]}}\n${SOUND}`,
    '1:22 audience_data',
  ),
]

const TEMPLATES: readonly BrokenFiles[] = [
  workflow('an empty expression', inApp('"Hello {{}}"'), '5:20 invalid_template'),
  workflow('a block that does not end', inApp('"Hello {{#if data.a}}x"'), '5:33 invalid_template'),
  workflow('a value without escapes', inApp('"Hello {{{data.a}}}"'), '5:18 unescaped_value'),
  workflow(
    'a partial with a computed name',
    inApp('"{{> (lookup data 1)}}"'),
    '5:12 unsupported_syntax',
  ),
  workflow(
    'a value where HTML can hold none',
    step('type: email', 'subject: a', 'html: "<p {{data.x}}>"'),
    '6:15 unsafe_context',
  ),
  workflow(
    'a URL that would run code',
    step('type: email', 'subject: a', 'html: \'<a href="javascript:{{data.x}}">\''),
    '6:32 unsafe_url',
  ),
  workflow('an unknown helper', inApp('"Hello {{uper recipient.name}}"'), '5:20 unknown_helper'),
  workflow(
    'an unknown helper in a block of text',
    inApp('|\n      Hello\n      dear {{uper recipient.name}}'),
    '7:14 unknown_helper',
  ),
  workflow('an unknown partial', inApp('"{{> buton}}"'), '5:16 unknown_partial'),
  {
    name: 'an unknown helper in a file',
    files: {
      [WORKFLOW]: inApp('{file: feed.md.hbs}'),
      'workflows/welcome/feed.md.hbs': 'Hello\n{{uper recipient.name}}\n',
    },
    diagnostic: 'workflows/welcome/feed.md.hbs:2:3 unknown_helper',
  },
  {
    name: 'an unknown partial in a partial',
    files: {
      [WORKFLOW]: inApp('"{{> button}}"'),
      'workflows/_partials/button.hbs': 'Press\n{{> icon}}\n',
    },
    diagnostic: 'workflows/_partials/button.hbs:2:5 unknown_partial',
  },
  {
    name: 'a layout without a place for the body',
    files: {
      [WORKFLOW]: step('type: email', 'subject: a', 'html: b'),
      'workflows/_layouts/default.html.hbs': '<body></body>',
    },
    diagnostic: 'workflows/_layouts/default.html.hbs:1:1 layout_without_content',
  },
  workflow(
    'an unknown layout',
    step('type: email', 'subject: a', 'html: b', 'layout: brand'),
    '7:13 unknown_layout',
  ),
  {
    name: 'a template of 70 kB',
    files: {
      [WORKFLOW]: inApp('{file: feed.md.hbs}'),
      'workflows/welcome/feed.md.hbs': 'x'.repeat(70_000),
    },
    diagnostic: 'workflows/welcome/feed.md.hbs:1:1 file_too_large',
  },
  {
    name: 'a template that is not UTF-8',
    files: {
      [WORKFLOW]: inApp('{file: feed.md.hbs}'),
      'workflows/welcome/feed.md.hbs': Buffer.from([0x61, 0x0a, 0xff]),
    },
    diagnostic: 'workflows/welcome/feed.md.hbs:2:1 invalid_encoding',
  },
]

/** Every kind of mistake that a repository can hold, each alone. */
export const brokenFiles: readonly BrokenFiles[] = [
  ...GRAMMAR,
  ...SHAPE,
  ...TEMPLATES,
  ...brokenDirectories,
  ...brokenEnvironments,
]
