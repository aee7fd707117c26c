import { inspectDatabase } from '../db/inspect.ts'
import { countProcesses } from '../messages/leases.ts'
import { findLead } from '../reconcile/leader-store.ts'
import { listLastDeliveries } from './hooks/store.ts'
import { ok, type ReadRoute } from './route.ts'

/** How this process, its database and the others beside it stand; nothing of anybody's data. */
const find: ReadRoute = {
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
    const counts = gitHooks?.counts() ?? []
    const hosts = new Set([...last, ...counts].map(({ provider }) => provider))
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
          outcomes: counts.find((one) => one.provider === provider)?.outcomes ?? {},
        })),
      },
    })
  },
}

export const installation = [find] as const
