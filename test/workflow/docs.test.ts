import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { generatedFiles } from '../../scripts/docs.ts'
import { METRICS } from '../../src/metrics.ts'
import { brokenFiles } from './broken-files.ts'

test.each(Object.entries(generatedFiles()))('%s is as scripts/docs.ts makes it', (path, text) => {
  expect(readFileSync(path, 'utf8')).toBe(text)
})

const pages = ['diagnostics', 'templates'].map((name) =>
  readFileSync(`docs/spec/${name}.md`, 'utf8'),
)
const codeTables = pages.flatMap((page) =>
  [...page.matchAll(/^\| code \|.*\n\| --- .*\n((?:\|.*\n)+)/gm)].map((found) => found[1] ?? ''),
)
const documented = codeTables.flatMap((rows) =>
  [...rows.matchAll(/^\| `([a-z_]+)` \|/gm)].map((row) => row[1] ?? ''),
)

test.each([...new Set(brokenFiles.map(({ diagnostic }) => diagnostic.split(' ')[1]))])(
  'the code %s is documented',
  (code) => {
    expect(documented).toContain(code)
  },
)

/** The texts of all files that make diagnostics. */
const sources = ['language', 'steps', 'workflow', 'reconcile']
  .flatMap((room) => readdirSync(`src/${room}`).map((name) => join('src', room, name)))
  // The lists of the first are of statuses and operators, the codes of the next two a request's, and those of a plan its own.
  .filter((path) => !/(message-status|reconcile\/(brakes|retirement|promotion.*))\.ts$/.test(path))
  .map((path) => readFileSync(path, 'utf8'))

/** Reasons of skipped steps, and names of other things: they are written like codes, and are none. */
const others = new Set([
  'past_window',
  'invalid_window',
  'updated_at',
  'total_activities',
  'once_per_recipient',
  'first_sight',
  'client_keys',
  'commercial_subscribed',
  'in_app_feed',
  'standard_webhooks',
  'idle_in_transaction_session_timeout',
  ...Object.keys(METRICS),
])

/** The codes in a text: as a property, as a constant of one, and as the argument of what makes one. */
function codesIn(source: string): readonly string[] {
  const all = (pattern: RegExp) => [...source.matchAll(pattern)].map((found) => found[1] ?? '')
  const constants = all(/\bcode: ([A-Z_]+)\b/g)
  return [
    ...all(/\bcode: '([a-z_]+)'/g),
    ...all(/[(,]\s*'([a-z]+(?:_[a-z]+)+)',/g),
    ...constants.flatMap((name) => all(new RegExp(`^const ${name} = '([a-z_]+)'`, 'gm'))),
  ]
}

test('every code of the source is documented', () => {
  const codes = new Set(sources.flatMap(codesIn))
  // The three ways to write one are all found.
  expect([...codes]).toEqual(
    expect.arrayContaining(['missing_secret', 'step_limit', 'declaration_invalid']),
  )
  expect([...codes].filter((code) => !documented.includes(code) && !others.has(code))).toEqual([])
})

test('no code is documented that does not exist', () => {
  const source = sources.join('\n')
  // These are put together from what they are about.
  const composed = new Set([
    'unknown_type',
    'unknown_provider',
    'unknown_partial',
    'unknown_layout',
  ])
  const gone = documented.filter((code) => !composed.has(code) && !source.includes(`'${code}'`))
  expect(gone).toEqual([])
})
