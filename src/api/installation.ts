import { inspectDatabase } from '../db/inspect.ts'
import { countProcesses } from '../messages/leases.ts'
import { findLead } from '../reconcile/leader-store.ts'
import { listLastDeliveries } from './hooks/store.ts'
import { ok, type ReadRoute } from './route.ts'
import {
  count,
  entity,
  flag,
  listOf,
  nullableText,
  nullableTime,
  orNull,
  shape,
  text,
  time,
} from './shapes/shape.ts'
import { counts } from './shapes/recipients.ts'

const Installation = entity('Installation', {
  started_at: time,
  database: shape({
    version: text,
    major: count,
    migration: count,
    newest: count,
    refusal: nullableText,
    ahead_ms: { type: 'number' },
  }),
  processes: shape({ alive: count, silent: count }),
  lead: orNull(shape({ held: flag, expires_at: time })),
  git_webhooks: shape({
    secrets: count,
    providers: listOf(shape({ provider: text, last_delivery_at: nullableTime, outcomes: counts })),
  }),
})

/** How this process, its database and the others beside it stand; nothing of anybody's data. */
const find: ReadRoute = {
  id: 'installation.get',
  summary: 'Shows how the process, its database and the others stand',
  replies: { 200: Installation },
  kind: 'read',
  method: 'GET',
  path: '/v1/installation',
  scope: 'operate',
  environment: 'none',
  async handle({ database, services, now }) {
    const { gitHooks, startedAt } = services
    const report = await inspectDatabase(database, now)
    const lead = await findLead(database)
    const last = await listLastDeliveries(database)
    const counted = gitHooks?.counts() ?? []
    const hosts = new Set([...last, ...counted].map(({ provider }) => provider))
    return ok({
      __typename: 'Installation',
      started_at: startedAt,
      database: {
        version: report.version,
        major: report.major,
        migration: report.migration,
        newest: report.newest,
        refusal: report.refusal,
        ahead_ms: report.aheadMs,
      },
      processes: await countProcesses(database),
      lead: lead ? { held: lead.isHeld, expires_at: lead.expiresAt } : null,
      git_webhooks: {
        secrets: gitHooks?.secrets.length ?? 0,
        // The counts are this process's own, the times those of all.
        providers: [...hosts].toSorted().map((provider) => ({
          provider,
          last_delivery_at: last.find((one) => one.provider === provider)?.lastDeliveryAt ?? null,
          outcomes: counted.find((one) => one.provider === provider)?.outcomes ?? {},
        })),
      },
    })
  },
}

export const installation = [find] as const
