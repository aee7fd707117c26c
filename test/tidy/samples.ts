import {
  bannedWords,
  FILE_LINES_MAX,
  FUNCTION_LINES_MAX,
  importDirection,
  lengths,
} from './rooms.ts'
import type { Problem, Source } from './source.ts'
import { unscopedStatements } from './statements.ts'
import { clockReads, environmentReads, networkUses, queueImports } from './world.ts'

type Rule = (source: Source) => Problem[]

/** One line per way to break a rule: the file, what the rule says of it, the rule, and the text. */
export const BROKEN: readonly [path: string, says: string, rule: Rule, text: string][] = [
  [
    'src/steps/a.ts',
    'steps must not import from runs',
    importDirection,
    `import { b } from '../runs/b.ts'`,
  ],
  [
    'src/runs/a.ts',
    'runs must not import from reconcile',
    importDirection,
    `import { b } from '../reconcile/b.ts'`,
  ],
  [
    'src/reconcile/a.ts',
    'reconcile must not import from runs',
    importDirection,
    `import type { b } from '../runs/b.ts'`,
  ],
  [
    'src/git/b.ts',
    'git must not import from db',
    importDirection,
    `import { b } from '#src/db/b.ts'`,
  ],
  [
    'src/git/a.ts',
    'git must not import from db',
    importDirection,
    `export { b } from '../db/b.ts'`,
  ],
  [
    'src/messages/a.ts',
    'messages must not import from recipients',
    importDirection,
    `export * from '../recipients/b.ts'`,
  ],
  ['src/db/a.ts', 'db must not import from api', importDirection, `await import('../api/b.ts')`],
  ['src/ids.ts', 'base must not import from app', importDirection, `import { b } from './app.ts'`],
  [
    'src/channels/a.ts',
    'channels must not import from steps',
    importDirection,
    `import { b } from '../steps/step.ts'`,
  ],
  ['src/misc/a.ts', 'no such room: misc', importDirection, ''],
  ['src/a.ts', 'at most 400', lengths, lines(FILE_LINES_MAX + 1)],
  [
    'src/a.ts',
    'a function of 72 lines',
    lengths,
    `function f() {\n${lines(FUNCTION_LINES_MAX)}\n}`,
  ],
  ['src/a.ts', 'at most 70', lengths, `const f = () => {\n${lines(FUNCTION_LINES_MAX)}\n}`],
  ['src/a.ts', 'at most 70', lengths, `class C { m() {\n${lines(FUNCTION_LINES_MAX)}\n} }`],
  ['src/a.ts', 'Date.now', clockReads, `const t = Date.now()`],
  ['src/b.ts', 'Date.now', clockReads, `const now = Date.now; now()`],
  ['src/a.ts', 'new Date()', clockReads, `const t = new Date()`],
  ['src/a.ts', 'performance.now', clockReads, `const t = performance.now()`],
  ['src/a.ts', 'Temporal.Now', clockReads, `const t = Temporal.Now.instant()`],
  ['src/a.ts', 'process.env', environmentReads, `const home = process.env.HOME`],
  ['src/b.ts', 'process.env', environmentReads, `const { HOME } = process['env']`],
  ['src/a.ts', 'env of process', environmentReads, `import { env } from 'node:process'`],
  ['src/runs/a.ts', 'fetch', networkUses, `await fetch(url)`],
  ['src/runs/b.ts', 'fetch', networkUses, `await globalThis.fetch(url)`],
  ['src/runs/a.ts', 'WebSocket', networkUses, `new WebSocket(url)`],
  ['src/runs/a.ts', 'node:https', networkUses, `import { request } from 'node:https'`],
  ['src/runs/a.ts', 'net:', networkUses, `import net, { isIP } from 'net'`],
  [
    'src/runs/a.ts',
    'node:dns/promises',
    networkUses,
    `const dns = await import('node:dns/promises')`,
  ],
  ['src/runs/a.ts', 'pg:', networkUses, `import { Client } from 'pg'`],
  ['src/runs/a.ts', 'pg-boss', queueImports, `import { PgBoss } from 'pg-boss'`],
  ['src/db/a.ts', 'pg-boss', queueImports, `import type { Job } from 'pg-boss'`],
  ['src/a.ts', 'src/a.ts:2: ', bannedWords, `x()\n// ${'TO'.concat('DO')}: later`],
  ['src/a.ts', 'on runs', unscoped, `sql\`select id from runs where id = ?\``],
  ['src/b.ts', 'on runs', unscoped, `function f() { return sql\`update runs set status = 1\` }`],
  [
    'src/c.ts',
    'on runs',
    unscoped,
    `sql\`select 1 from versions v\n join runs r on r.version_id = v.id\``,
  ],
  ['src/d.ts', 'on messages', unscoped, `sql\`delete from messages\``],
  ['src/e.ts', 'on runs', unscoped, `sql\`insert into runs (id) values (1)\``],
]

/** What the same rules let pass. */
export const RIGHT: readonly [path: string, rule: Rule, text: string][] = [
  ['src/runs/a.ts', importDirection, `import { b } from '../db/b.ts'; import { c } from './c.ts'`],
  ['src/channels/a.ts', importDirection, `import type { b } from '../steps/step.ts'`],
  ['src/main.ts', importDirection, `import { b } from './app.ts'; import fs from 'node:fs'`],
  ['src/a.ts', lengths, `function f() {\n${lines(68)}\n${lines(20, '// why')}\n\n\n}`],
  ['src/a.ts', clockReads, `const t = new Date(0); clock.now(); const s: Date = t`],
  ['src/clock.ts', clockReads, `const t = new Date()`],
  ['src/a.ts', environmentReads, `process.platform; config.env`],
  ['src/config.ts', environmentReads, `process.env`],
  ['src/runs/a.ts', networkUses, `import { isIP } from 'node:net'; store.fetch(1)`],
  ['src/runs/a.ts', networkUses, `import type { Server } from 'node:http'`],
  ['src/db/a.ts', networkUses, `import { Client } from 'pg'`],
  ['src/a.ts', unscoped, `sql\`select id from runs where environment = ? and id = ?\``],
  ['src/a.ts', unscoped, `sql\`select id from versions where id = ?\``],
  ['src/a.ts', unscoped, `function listDue() { return db.query(sql\`select id from runs\`) }`],
  ['src/a.ts', bannedWords, 'const hacker = 1'],
]

function unscoped(source: Source): Problem[] {
  const exempt = [{ where: 'src/a.ts#listDue', why: 'serves all environments' }]
  return unscopedStatements(source, ['runs', 'messages'], exempt)
}

function lines(count: number, line = 'x()'): string {
  return Array.from({ length: count }, () => line).join('\n')
}
