import { effectivePreferences, layersOf } from '../language/preferences.ts'
import { loadEnvironment } from '../messages/environments.ts'
import type { Properties } from '../recipients/merge.ts'
import { checkRecipientId, TENANTS, tenantToWire } from '../recipients/recipient.ts'
import { tenantPreferences } from '../runs/preferences.ts'
import { pageQuery } from './page.ts'
import { recipientPage, recipientRoutes } from './recipient-resource.ts'
import type { ReadRoute } from './route.ts'
import { Tenant } from './shapes/recipients.ts'
import { nullableText, pageShape, text } from './shapes/shape.ts'

interface TenantsQuery {
  readonly tenant_id?: string
  readonly name?: string
}

const list: ReadRoute = {
  id: 'tenants.list',
  summary: 'Lists tenants',
  replies: { 200: pageShape('entries', Tenant) },
  kind: 'read',
  method: 'GET',
  path: '/v1/tenants',
  scope: 'read',
  environment: 'key',
  query: { type: 'object', properties: { ...pageQuery, tenant_id: text, name: text } },
  async handle(request) {
    const { tenant_id: id, name }: TenantsQuery = request.query
    const filter = {
      collection: TENANTS,
      ...(id !== undefined && { id }),
      ...(name !== undefined && { name }),
    }
    return await recipientPage(request, filter, tenantToWire)
  },
}

const branding = {
  type: ['object', 'null'],
  properties: {
    logo_url: nullableText,
    icon_url: nullableText,
    primary_color: nullableText,
    primary_color_contrast: nullableText,
    dark_logo_url: nullableText,
    dark_icon_url: nullableText,
    dark_primary_color: nullableText,
    dark_primary_color_contrast: nullableText,
  },
} as const

const one = recipientRoutes({
  what: 'tenant',
  a: 'a tenant',
  verb: 'set',
  shape: Tenant,
  path: '/v1/tenants/:id',
  fields: {
    name: nullableText,
    settings: { type: ['object', 'null'], properties: { branding } },
  },
  refOf: ({ id }) => ({ collection: TENANTS, id: checkRecipientId(id, 'path') }),
  toWire: tenantToWire,
  query: {
    resolve_full_preference_settings: {
      type: 'boolean',
      description: "Whether its set is shown with the environment's below it.",
    },
  },
  show: async (tenant, { database, environment, query }) => {
    if (query['resolve_full_preference_settings'] !== true) return tenantToWire(tenant)
    const live = await loadEnvironment(database, environment)
    const { settings } = effectivePreferences(
      layersOf({
        tenant: tenant.id,
        own: undefined,
        ownForTenant: undefined,
        tenantDefault: tenantPreferences(tenant) ?? {},
        environment: live?.settings.preferences,
      }),
    )
    const given = tenant.properties['settings'] as Properties | undefined
    const resolved = { ...given, preference_set: settings }
    return tenantToWire({ ...tenant, properties: { ...tenant.properties, settings: resolved } })
  },
})

export const tenants = [list, ...one] as const
