import { unreachable } from '../errors.ts'
import type { InAppContent } from '../steps/step.ts'
import type { Provider } from './provider.ts'

/** The feed inside an application: a message is delivered when it is in Postgres. */
export const inApp: Provider<'in_app', InAppContent, object> = {
  name: 'in_app',
  type: 'in_app',
  summary: 'The feed that Belfry keeps itself; nothing leaves the server.',
  schema: { required: [], properties: {} },
  example: {},
  delivery: 'stored',
  overrides: null,
  service: { perSecond: null, permanent: [], idempotency: 'the id of the message', reports: null },

  send: () => unreachable('a stored message is never handed over' as never),
}
