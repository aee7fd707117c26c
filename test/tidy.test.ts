import fs from 'node:fs'
import { describe, expect, test } from 'vitest'
import {
  bannedWords,
  deadFiles,
  importDirection,
  lengths,
  unreached,
  unregistered,
  withoutMirror,
} from './tidy/rooms.ts'
import { BROKEN, RIGHT } from './tidy/samples.ts'
import { parseSource, readSources, type Problem, type Source } from './tidy/source.ts'
import { environmentTables, unscopedStatements } from './tidy/statements.ts'
import { clockReads, environmentReads, networkUses, queueImports } from './tidy/world.ts'

const MIGRATIONS = 'src/db/migrations'
/** Started from outside; everything else is imported by something. */
const ENTRIES = ['src/main.ts']

const sources = readSources('src')
const tests = readSources('test')
const tables = fs
  .readdirSync(MIGRATIONS)
  .flatMap((name) => environmentTables(fs.readFileSync(`${MIGRATIONS}/${name}`, 'utf8')))

function problemsIn(rule: (source: Source) => Problem[]): Problem[] {
  return sources.flatMap((source) => rule(source))
}

describe('the source', () => {
  test('imports in one direction', () => expect(problemsIn(importDirection)).toEqual([]))
  test('is made of short functions and files', () => expect(problemsIn(lengths)).toEqual([]))
  test('takes the time from a clock', () =>
    expect(problemsIn((source) => clockReads(source))).toEqual([]))
  test('takes settings from the configuration', () =>
    expect(problemsIn((source) => environmentReads(source))).toEqual([]))
  test('goes out through one door', () =>
    expect(problemsIn((source) => networkUses(source))).toEqual([]))
  test('knows the queue library in one file', () => expect(problemsIn(queueImports)).toEqual([]))
  test('names what its registries hold', () => expect(unregistered(sources)).toEqual([]))
  test('has no file that nothing imports', () =>
    expect(fs.existsSync('src/main.ts') ? deadFiles(sources, ENTRIES) : []).toEqual([]))
  test('has a test for each step type, and reaches all pure code', () => {
    expect(withoutMirror(sources, tests)).toEqual([])
    expect(unreached(sources, tests)).toEqual([])
  })
  test('names the environment in each statement', () =>
    expect(problemsIn((source) => unscopedStatements(source, tables))).toEqual([]))
  test('says nowhere that something is unfinished', () => {
    expect([...sources, ...tests].flatMap((source) => bannedWords(source))).toEqual([])
  })
})

describe('a rule', () => {
  test.each(BROKEN)('finds in %s: %s', (path, says, rule, text) => {
    expect(rule(parseSource(path, text)).join('\n')).toContain(says)
  })

  test.each(RIGHT)('lets pass sample %#', (path, rule, text) => {
    expect(rule(parseSource(path, text))).toEqual([])
  })

  test('finds a step type that is not registered', () => {
    const step = parseSource('src/steps/a.ts', `export const a: StepType<'a', A> = {}`)
    const index = parseSource('src/steps/index.ts', `export const stepTypes = {}`)
    const naming = parseSource('src/steps/index.ts', `import { a } from './a.ts'`)
    expect(unregistered([step, index])).toHaveLength(1)
    expect(unregistered([step, naming])).toEqual([])
  })

  test('finds a file that nothing imports', () => {
    const files = [
      parseSource('src/main.ts', `import './b.ts'`),
      parseSource('src/b.ts', ''),
      parseSource('src/c.ts', ''),
    ]
    expect(deadFiles(files, ['src/main.ts'])).toEqual(['src/c.ts: nothing imports it'])
  })

  test('finds a step type without a test', () => {
    const step = parseSource('src/steps/a.ts', `export const a: StepType<'a', A> = {}`)
    expect(withoutMirror([step], [])).toEqual(['src/steps/a.ts: no test/steps/a.test.ts'])
    expect(withoutMirror([step], [parseSource('test/steps/a.test.ts', '')])).toEqual([])
  })

  test('finds pure code that no test reaches', () => {
    const code = parseSource('src/language/a.ts', `import './b.ts'; export function f() {}`)
    const inner = parseSource('src/language/b.ts', `export const b = 1`)
    const types = parseSource('src/language/t.ts', `export interface A { readonly b: string }`)
    const far = parseSource('test/runs/a.test.ts', `import { f } from '../../src/language/a.ts'`)
    const near = parseSource(
      'test/language/x.test.ts',
      `import { f } from '../../src/language/a.ts'`,
    )
    expect(unreached([code, inner, types], [far])).toHaveLength(2)
    expect(unreached([code, inner, types], [near])).toEqual([])
  })

  test('knows the tables that belong to environments', () => {
    expect(tables).toContain('runs')
    expect(tables).toContain('messages')
    expect(tables).not.toContain('versions')
    expect(tables).not.toContain('environments')
  })
})
