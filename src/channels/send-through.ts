import { refused } from './api.ts'
import { keptField } from './overrides.ts'
import type { Answer, HandOver, Provider, SendContext } from './provider.ts'
import type { MessageContent } from '../steps/step.ts'

/**
 * Hands one message to `provider`, with what its step lays over the request. What says whom a message goes to, whom it is
 * from and how we know it again is not to be laid over: such a message is refused before anything goes out.
 */
export async function sendThrough<Content extends MessageContent, Settings extends object>(
  provider: Provider<string, Content, Settings>,
  message: Omit<HandOver<Content>, 'overrides'>,
  context: SendContext<Settings>,
): Promise<Answer> {
  const { name, overrides: kept } = provider
  const all = 'overrides' in message.content ? message.content.overrides : undefined
  const overrides = all && Object.hasOwn(all, name) ? (all[name] ?? {}) : {}
  if (kept === null && Object.keys(overrides).length > 0) {
    return refused('invalid_overrides', `${name} takes no overrides`)
  }
  const field = keptField(overrides, kept ?? [])
  if (field) {
    return refused('invalid_overrides', `overrides of ${name} cannot set ${field.join('.')}`)
  }
  return await provider.send({ ...message, overrides }, context)
}
