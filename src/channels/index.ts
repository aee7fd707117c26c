import { inApp } from './in-app.ts'
import { smtp } from './smtp.ts'
import { webhook } from './webhook.ts'

/** Every provider. To add one: write its file, then name it here. */
export const providers = { in_app: inApp, smtp, webhook } as const

export type ProviderName = keyof typeof providers

export function isProviderName(name: string): name is ProviderName {
  return Object.hasOwn(providers, name)
}
