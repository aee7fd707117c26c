import { isProviderName, providers } from '../../channels/index.ts'
import { webhookUrl } from '../../channels/report.ts'
import type { DeliveryWebhook } from '../../channels/report.ts'
import type { Config } from '../../config.ts'
import type { EnvironmentName } from '../../ids.ts'
import type { Channel } from '../../workflow/environment.ts'
import { fine, warning, type Finding } from './finding.ts'

/** Where the providers of the channels report to, and what keeps them from it. */
export function checkReports(
  config: Pick<Config, 'publicUrl'>,
  environment: EnvironmentName,
  channels: readonly Channel[],
): readonly Finding[] {
  return channels.flatMap((channel) => {
    const provider = isProviderName(channel.provider) ? providers[channel.provider] : undefined
    if (channel.sandbox || !provider || !('webhook' in provider)) return []
    return [checkChannel(config, environment, { channel, webhook: provider.webhook })]
  })
}

function checkChannel(
  { publicUrl }: Pick<Config, 'publicUrl'>,
  environment: EnvironmentName,
  {
    channel,
    webhook,
  }: { readonly channel: Channel; readonly webhook: Pick<DeliveryWebhook<never>, 'settings'> },
): Finding {
  const { key, provider, settings } = channel
  const what = `${environment}/${key} (${provider})`
  const isSet = webhook.settings.some((name) => settings[name] !== undefined)
  const url = webhookUrl(publicUrl, environment, key)
  if (!isSet) {
    const lacks = `it lacks ${webhook.settings[0]}`
    return fine('reports', `${what} takes no reports: ${lacks}${url ? `; they go to ${url}` : ''}`)
  }
  if (url !== undefined) return fine('reports', `${what} takes reports at ${url}`)
  const message = `${what} takes reports, and nobody can come here with them`
  return warning('reports', message, 'Set BELFRY_PUBLIC_URL to where providers find Belfry.')
}
