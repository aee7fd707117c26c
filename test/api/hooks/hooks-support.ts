import { gitHook } from '../../../src/api/hooks/git.ts'
import { openGitHooks, type GitHooks } from '../../../src/api/hooks/journal.ts'
import type { Database } from '../../../src/db/database.ts'
import { sql } from '../../../src/db/sql.ts'
import { openLog } from '../../../src/log.ts'
import type { SignedRoute } from '../../../src/api/route.ts'
import { testClock } from '../../support/clock.ts'
import { anEnvironment, NOW, serve, type TestReply, type TestServer } from '../server-support.ts'
import type { Delivery } from './deliveries.ts'
import { SECRET } from './deliveries.ts'

export interface HookServer extends TestServer {
  readonly hooks: GitHooks
  /** Every line of the log. */
  readonly lines: readonly string[]
  hook(provider: string, delivery: Delivery): Promise<TestReply>
}

/** A server that takes webhooks which are signed with these secrets. */
export async function serveHooks(
  database: Database,
  {
    secrets = [SECRET],
    route = gitHook,
  }: { readonly secrets?: readonly string[]; readonly route?: SignedRoute } = {},
): Promise<HookServer> {
  const clock = testClock(NOW)
  const lines: string[] = []
  const write = (line: string) => void lines.push(line)
  const log = openLog({ level: 'debug', write, human: false, mask: (text) => text, clock })
  const hooks = openGitHooks({ secrets, clock, log })
  const services = {
    queue: undefined as never,
    hasLookedAtGit: () => true,
    startedAt: clock.now(),
    gitHooks: hooks,
  }
  const api = await serve(database, [route], { clock, log, services })
  return {
    ...api,
    clock,
    hooks,
    lines,
    hook: (provider, { headers, body }) =>
      api.call('POST', `/hooks/git/${provider}`, { headers, body }),
  }
}

/** `production`, which follows the branch of its name, in a repository whose default branch is `main`. */
export async function begin(database: Database): Promise<void> {
  await database.query(sql`truncate git_hints, git_deliveries, git_hooks, reconcilers`)
  await anEnvironment(database, 'production')
  await database.query(sql`
    insert into reconcilers (repository, process, fence, expires_at, default_branch)
    values ('repository', '01890000-0000-7000-8000-000000000000', 1, ${NOW}, 'main')`)
}

/** What the reconciler is told to look for. */
export async function hints(database: Database): Promise<readonly string[]> {
  const rows = await database.query<{ branch: string; revision: string }>(sql`
    select branch, revision from git_hints order by branch, revision`)
  return rows.map(({ branch, revision }) => `${branch} ${revision}`)
}
