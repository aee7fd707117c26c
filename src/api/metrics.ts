import type { OpenRoute } from './route.ts'

const scrape: OpenRoute = {
  kind: 'open',
  method: 'GET',
  path: '/metrics',
  async handle({ services }) {
    const { metrics } = services
    if (!metrics) return { status: 404, body: 'this process shows no metrics\n' }
    return { status: 200, type: metrics.contentType, body: await metrics.expose() }
  },
}

export const metrics = [scrape] as const
