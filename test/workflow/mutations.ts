import type { Content } from './files.ts'

/** Numbers that are the same for the same seed, as mulberry32 makes them. */
export interface Random {
  /** A whole number from 0 up to `end`, without it. */
  below(end: number): number
  pick<Item>(items: readonly Item[]): Item
}

export function seeded(seed: number): Random {
  let state = seed
  const below = (end: number): number => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % end
  }
  return { below, pick: (items) => items[below(items.length)] as (typeof items)[number] }
}

/** Files that somebody broke in one way. */
export interface Mutant {
  readonly name: string
  readonly files: Readonly<Record<string, Content>>
}

/** A way to break the file at `path`: what stands there afterwards, and maybe elsewhere. */
type Mutation = (
  file: { readonly path: string; readonly bytes: Buffer },
  random: Random,
) => Readonly<Record<string, Content>>

type Lines = (lines: string[], at: number, random: Random) => readonly string[]

const lines =
  (change: Lines): Mutation =>
  ({ path, bytes }, random) => {
    const all = bytes.toString().split('\n')
    return { [path]: change(all, random.below(all.length), random).join('\n') }
  }

const insert = (...added: readonly string[]): Mutation =>
  lines((all, at) => all.toSpliced(at, 0, ...added))

const bytesAt =
  (...added: readonly number[]): Mutation =>
  ({ path, bytes }, random) => {
    const at = random.below(bytes.length + 1)
    return {
      [path]: Buffer.concat([bytes.subarray(0, at), Buffer.from(added), bytes.subarray(at)]),
    }
  }

/** Puts one of `values` behind the colon of a line that has one. */
const value = (...values: readonly string[]): Mutation =>
  lines((all, start, random) => {
    const places = all.flatMap((line, index) => (/^[\s-]*[\w"]+: \S/.test(line) ? [index] : []))
    const at = places[start % Math.max(places.length, 1)] ?? start
    return all.with(at, (all[at] ?? '').replace(/^([^:]*:)?.*$/, `$1 ${random.pick(values)}`))
  })

const moved =
  (to: (path: string) => string): Mutation =>
  ({ path, bytes }) => ({ [to(path)]: bytes })

const deep = (depth: number): string => `${'['.repeat(depth)}${']'.repeat(depth)}`
const ten = (one: string): string => `[${Array.from({ length: 10 }, () => one).join(', ')}]`

/** What the tests look for in messages: somebody wrote it where a reference should stand. */
export const CANARY = 'canary-7f3a9c51e2'

const ANY_FILE: Readonly<Record<string, Mutation>> = {
  truncated: ({ path, bytes }, random) => ({
    [path]: bytes.subarray(0, random.below(bytes.length)),
  }),
  'a line twice': lines((all, at) => all.toSpliced(at, 0, all[at] ?? '')),
  'without a line': lines((all, at) => all.toSpliced(at, 1)),
  '10 MB': ({ path, bytes }) => ({ [path]: Buffer.concat([bytes, Buffer.alloc(10 << 20, 'x')]) }),
  'a symbolic link': ({ path }) => ({ [path]: { mode: '120000' } }),
  'a submodule': ({ path }) => ({ [path]: { mode: '160000' } }),
  CRLF: ({ path, bytes }) => ({ [path]: bytes.toString().replaceAll('\n', '\r\n') }),
  'CR alone': ({ path, bytes }) => ({ [path]: bytes.toString().replaceAll('\n', '\r') }),
  'a byte order mark': ({ path, bytes }) => ({
    [path]: Buffer.concat([Buffer.from('\ufeff'), bytes]),
  }),
  'a byte order mark inside': bytesAt(0xef, 0xbb, 0xbf),
  'bytes that are not UTF-8': bytesAt(0xc3, 0x28, 0xff),
  'half a surrogate': bytesAt(0xed, 0xa0, 0x80),
  'a NUL': bytesAt(0),
  'UTF-16': ({ path, bytes }) => ({ [path]: Buffer.from(`\ufeff${bytes.toString()}`, 'utf16le') }),
  'merge-conflict markers': insert('<<<<<<< HEAD', '=======', '>>>>>>> feature'),
  'other case': moved((path) => path.replace(/[a-z]+(?=\/[^/]*$)/, (name) => name.toUpperCase())),
  'a quote that opens': bytesAt(0x22),
  'random bytes': ({ path, bytes }, random) => {
    const copy = Buffer.from(bytes)
    for (let count = 0; count < 8; count++) copy[random.below(copy.length)] = random.below(256)
    return { [path]: copy }
  },
}

const YAML: Readonly<Record<string, Mutation>> = {
  'another type': value(
    '5',
    'true',
    '[]',
    '{}',
    'null',
    '[[1]]',
    '{a: {b: 1}}',
    '-1',
    '1e999',
    '""',
  ),
  'a clear secret': lines((all, _, random) =>
    all.map((line) =>
      line.replace(
        /(secret|password): [^,}]+/,
        `$1: ${random.pick([CANARY, `[${CANARY}]`, `{secret: ${CANARY}}`])}`,
      ),
    ),
  ),
  'a deep list': value(deep(70), deep(3000), '{a: '.repeat(500)),
  'a huge number': value('9'.repeat(400), '.inf', '.nan', '0x1fffffffffffffffff'),
  'an alias bomb': value(
    `[&a ${ten('x')}, &b ${ten('*a')}, &c ${ten('*b')}, &d ${ten('*c')}, ${ten('*d')}]`,
  ),
  'an alias loop': value('&loop [*loop]', '*gone', '&a {b: *a}'),
  'an anchor and a merge key': value('&a {file: x}', '{<<: {body: x}}', '{<<: *x}'),
  'a tag': value('!!binary aGk=', '!env TOKEN', '!!js/function x'),
  'tabs as indentation': lines((all, at) => all.with(at, `\t${all[at]}`)),
  'a wrong key': lines((all, at) => all.with(at, (all[at] ?? '').replace(/(\w)(\w+):/, '$2$1:'))),
  'a duplicate key': lines((all) => [
    ...all,
    ...all.filter((line) => /^\w/.test(line)).slice(0, 1),
  ]),
  'a reserved key': insert('__proto__: {polluted: true}', 'constructor: 1'),
  'another indentation': lines((all, at) => all.with(at, `   ${all[at]}`)),
  'two documents': insert('---'),
  'a directive': lines((all) => ['%YAML 1.1', '---', ...all]),
  'JSON in YAML': ({ path }, random) => ({
    [path]: random.pick([
      '{"name": "x", "steps": []}',
      '{"name": "x",}',
      '["x"]',
      '"x"',
      '{"a"',
      'null',
    ]),
  }),
  'YAML in JSON': ({ path, bytes }) => ({ [path.replace(/yaml$/, 'json')]: bytes }),
  'a file beside it': ({ path, bytes }) => ({
    [path]: bytes,
    [path.replace(/yaml$/, 'json')]: '{}',
  }),
  'broken expressions': value(
    '"{{"',
    '"{{#if}}"',
    '"{{uper name}}"',
    '"{{{data.a}}}"',
    '"{{> gone}}"',
    '"{{/if}}"',
  ),
  'a path that leads out': value(
    '{file: ../../../etc/passwd}',
    '{file: /etc/passwd}',
    '{file: gone.hbs}',
  ),
}

const TEMPLATE: Readonly<Record<string, Mutation>> = {
  'an expression cut off': insert('{{'),
  'a block that never ends': insert('{{#if data.a}}'),
  'an end without a start': insert('{{/each}}'),
  'an unknown helper': insert('{{uper data.a}}'),
  'a partial that is not there': insert('{{> gone}}'),
  'a partial that includes itself': ({ path, bytes }) => ({
    [path]: Buffer.concat([bytes, Buffer.from('\n{{> loop}}\n')]),
    'workflows/_partials/loop.hbs': '{{> loop}}',
  }),
  'two partials that include each other': ({ path, bytes }) => ({
    [path]: Buffer.concat([bytes, Buffer.from('\n{{> ping}}\n')]),
    'workflows/_partials/ping.hbs': '{{> pong}}',
    'workflows/_partials/pong.hbs': '{{> ping}}',
  }),
  'deep blocks': insert('{{#if data.a}}'.repeat(200) + '{{/if}}'.repeat(200)),
  'a deep expression': insert(`{{${'(upper '.repeat(500)}data.a${')'.repeat(500)}}}`),
  'many braces': insert('{'.repeat(20_000)),
  'a script': insert('<script>{{data.a}}</script><a href="javascript:{{data.a}}">'),
  'a tag cut off': insert('<a href="{{data.a}}'),
}

/**
 * `count` sets of files, each `base` with one file broken: every way to break a file is used, on
 * files that the seed chooses.
 */
export function mutants(
  base: ReadonlyMap<string, Uint8Array>,
  { count, seed }: { readonly count: number; readonly seed: number },
): readonly Mutant[] {
  const random = seeded(seed)
  const paths = [...base.keys()].toSorted()
  const groups = [
    [ANY_FILE, paths],
    [YAML, paths.filter((path) => path.endsWith('.yaml'))],
    [TEMPLATE, paths.filter((path) => path.endsWith('.hbs'))],
  ] as const
  const ways = groups.flatMap(([group, targets]) =>
    Object.entries(group).map(([name, mutation]) => ({ name, mutation, targets })),
  )
  return Array.from({ length: count }, (_, index) => {
    const { name, mutation, targets } = ways[index % ways.length] as (typeof ways)[number]
    const path = random.pick(targets)
    const rest = Object.fromEntries([...base].filter(([other]) => other !== path))
    const bytes = Buffer.from(base.get(path) ?? [])
    return {
      name: `${index}: ${name} in ${path}`,
      files: { ...rest, ...mutation({ path, bytes }, random) },
    }
  })
}
