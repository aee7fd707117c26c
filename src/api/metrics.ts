import type { OpenRoute } from './route.ts'
import { text } from './shapes/shape.ts'

const plain = { content: { 'text/plain': text } }

const scrape: OpenRoute = {
  id: 'installation.metrics',
  summary: 'Shows metrics in the text format of Prometheus',
  replies: { 200: plain, 404: plain },
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
