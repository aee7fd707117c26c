import { expect } from 'vitest'
import { routes } from '../../src/api/index.ts'
import { sql } from '../../src/db/sql.ts'
import { run } from '../cli/program-support.ts'
import { scene, workflow } from '../reconcile/scene.ts'
import { test } from '../support/database.ts'
import { testRepository } from '../support/repository.ts'
import { OPERATOR, serve } from './server-support.ts'

const PATH = '/v1/environments/production'

test('what something else has changed is shown with the environment, on the command line and in its history', async ({
  database,
}) => {
  await using made = await testRepository()
  await made.commit({
    'environments/production.yaml': 'ref: main\n',
    'workflows/a1/workflow.yaml': workflow('One'),
  })
  await using api = await serve(database, routes)
  const { reconciler, clock } = await scene(database, made.path)
  await reconciler.pass()
  const settings = { url: api.server.url, apiKey: undefined, operatorToken: OPERATOR }
  const read = async (path: string) => (await api.call('GET', path, { key: OPERATOR })).body
  expect(await read(PATH)).toMatchObject({ drift: null })
  await database.query(
    sql`update workflows set tree = 'x' where environment = 'production' and key = 'a1'`,
  )
  await reconciler.mend()
  const at = clock.now().toISOString()
  const found = [{ what: 'workflow', key: 'a1', fields: ['tree'] }]
  const drift = { found_at: at, outcome: 'repaired', count: 1, found, paused_until: null }
  expect(await read(`${PATH}/drift`)).toMatchObject({
    environment: 'production',
    items: [{ outcome: 'repaired', count: 1, found, inserted_at: at }],
  })
  expect(await read(PATH)).toMatchObject({ drift })
  const shown = await run(['status', 'production'], { settings })
  expect(shown).toMatchObject({ code: 0 })
  expect(shown.out).toContain(
    `production: warning something else changed 1 row of what was applied, found at ${at}: repaired`,
  )
  await reconciler.close()
})
