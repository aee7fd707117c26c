import { ok, type OpenRoute, type Reply } from './route.ts'
import { countEnvironmentsNeverLookedAt, pingDatabase } from './store.ts'
import { component, oneOf } from './shapes/shape.ts'

/** How long after the start triggers may have to wait for Git; what it has not given by then is a state, not a reason. */
const GIT_MS_MAX = 15_000

const Live = component('Live', { status: { const: 'ok' } })
const Ready = component('Ready', { status: { const: 'ready' } })
const NotReady = component('NotReady', {
  status: { const: 'starting' },
  waiting_for: oneOf(['database', 'git']),
})

const live: OpenRoute = {
  id: 'installation.live',
  summary: 'Answers while the process does',
  replies: { 200: Live },
  kind: 'open',
  method: 'GET',
  path: '/healthz',
  handle: () => Promise.resolve(ok({ status: 'ok' })),
}

const ready: OpenRoute = {
  id: 'installation.ready',
  summary: 'Tells whether calls can be served',
  replies: { 200: Ready, 503: NotReady },
  kind: 'open',
  method: 'GET',
  path: '/readyz',
  async handle({ database, services, now }) {
    try {
      await pingDatabase(database)
    } catch {
      // Which way it fails is in the log and in no answer that needs no key.
      return notReady('database')
    }
    if (now.getTime() - services.startedAt.getTime() >= GIT_MS_MAX) return READY
    const waiting = await countEnvironmentsNeverLookedAt(database)
    return services.hasLookedAtGit() && waiting === 0 ? READY : notReady('git')
  },
}

const READY = ok({ status: 'ready' })

function notReady(waitingFor: 'database' | 'git'): Reply {
  return { status: 503, body: { status: 'starting', waiting_for: waitingFor } }
}

export const health = [live, ready] as const
