import { providerList } from '../../src/channels/index.ts'
import { performance } from 'node:perf_hooks'
import { expect, test } from 'vitest'
import type { Diagnostic } from '../../src/workflow/diagnostic.ts'
import { validateFiles } from '../../src/workflow/validate.ts'
import { brokenFiles } from './broken-files.ts'
import { entriesOf, type Content } from './files.ts'
import { goodFiles } from './good-files.ts'
import { CANARY, mutants } from './mutations.ts'

/** Far more than any of them takes on a busy machine, far less than what hangs. */
const MS_MAX = 3_000

const NO_WORDS = /\n|YAML\.|ajv|schema path|\[object|node_modules|\bat .*:\d+:\d+/

/** What is wrong with a diagnostic itself: nothing where a person can follow it to its place. */
function faults(one: Diagnostic, files: Readonly<Record<string, Content>>): readonly string[] {
  const { code, message, hint = '' } = one
  const text = `${message}${hint}`
  const faulty = {
    place: !isInside(one, files),
    empty: code === '' || message.length <= 10,
    secret: text.includes(CANARY),
    words: NO_WORDS.test(text),
  }
  return Object.entries(faulty).flatMap(([name, is]) => (is ? [name] : []))
}

/** A file that is missing, or is a link, is named as a whole. */
function isInside(
  { path, line, column }: Diagnostic,
  files: Readonly<Record<string, Content>>,
): boolean {
  const content = files[path]
  if (content === undefined || (typeof content === 'object' && 'mode' in content)) {
    return line === 1 && column === 1
  }
  const row = Buffer.from(content as string)
    .toString()
    .split('\n')[line - 1]
  return row !== undefined && column >= 1 && column <= row.length + 1
}

function judge(name: string, files: Readonly<Record<string, Content>>) {
  const entries = entriesOf(files)
  const start = performance.now()
  const { diagnostics } = validateFiles(entries, { providers: providerList })
  const took = performance.now() - start
  const wrong = diagnostics.flatMap((one) => {
    const found = faults(one, files)
    return found.length === 0 ? [] : [{ name, found, one }]
  })
  if (took > MS_MAX) return { diagnostics, wrong: [{ name, took }, ...wrong] }
  return { diagnostics, wrong }
}

test('of 300 broken files each is refused with a place, or is as good as before', async () => {
  const wrong: unknown[] = []
  let broken = 0
  const good = await goodFiles()
  // The first time loads compilers.
  judge('as they are', Object.fromEntries(good))
  for (const { name, files } of mutants(good, { count: 300, seed: 20_260_301 })) {
    const found = judge(name, files)
    wrong.push(...found.wrong)
    if (found.diagnostics.some(({ severity }) => severity === 'error')) broken += 1
  }
  expect(wrong).toEqual([])
  expect(broken).toBeGreaterThan(200)
}, 240_000)

test('every known kind of mistake is shown at a place inside its file', () => {
  expect(brokenFiles.flatMap(({ name, files }) => judge(name, files).wrong)).toEqual([])
})

test('the files are in order before they are broken', async () => {
  const { diagnostics } = judge('good files', Object.fromEntries(await goodFiles()))
  expect(diagnostics.filter(({ severity }) => severity === 'error')).toEqual([])
})

test('nothing of a broken file reaches the prototype of objects', () => {
  expect(({} as { readonly polluted?: unknown }).polluted).toBeUndefined()
})
