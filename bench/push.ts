import { sql } from '../src/db/sql.ts'
import { milliseconds, quantile, timed, type Figure } from './figures.ts'
import { ENVIRONMENT, workflow, type Ground } from './ground.ts'

const PUSHES = 20

/** From the end of `git push` to the applied revision, one workflow changed; beside it the push itself. */
export async function measurePush(ground: Ground, workflows: number): Promise<Figure> {
  const { clone } = ground
  const applied: number[] = []
  const pushes: number[] = []
  for (let index = 0; index < PUSHES; index += 1) {
    const revision = await clone.commit({
      'workflows/hello/workflow.yaml': workflow(`Text ${index}`),
    })
    pushes.push(await timed(() => clone.git('push', '--quiet', 'origin', 'main')))
    applied.push(await timed(() => untilApplied(ground, revision)))
  }
  return {
    what: `push to applied, ${workflows} workflows, one changed, p50 (p95)`,
    ours: `${milliseconds(quantile(applied, 0.5))} (${milliseconds(quantile(applied, 0.95))})`,
    beside: `${milliseconds(quantile(pushes, 0.5))}  git push itself`,
    ratio: `${(quantile(applied, 0.5) / quantile(pushes, 0.5)).toFixed(2)} x`,
  }
}

async function untilApplied({ database }: Ground, revision: string): Promise<void> {
  for (;;) {
    const [row] = await database.query<{ observed_revision: string | null }>(sql`
      select observed_revision from environments where name = ${ENVIRONMENT}
    `)
    if (row?.observed_revision === revision) return
    await new Promise((done) => setTimeout(done, 1))
  }
}
