import { isJsonObject } from '../json.ts'
import type { Address, ChatContent, MessageContent } from '../steps/step.ts'
import type { ChannelDataKind } from './provider.ts'

/** What is wrong with channel data; `path` is a JSON Pointer inside it. */
export interface ChannelDataProblem {
  readonly path: string
  readonly message: string
}

type Json = Readonly<Record<string, unknown>>

const ENTRIES_MAX = 100
const TEXT_LENGTH_MAX = 4_096
const SECRET_LENGTH_MIN = 8
/** What names a place in a connection, of whatever service. */
const PLACES = ['channel_id', 'user_id', 'ms_teams_channel_id', 'ms_teams_user_id']

/** What keeps `data` from being the channel data of a provider of this kind; empty where it is. */
export function channelDataProblems(
  kind: ChannelDataKind,
  data: unknown,
): readonly ChannelDataProblem[] {
  if (!isJsonObject(data)) return [{ path: '', message: 'must be an object' }]
  if (kind === 'devices') return deviceProblems(data)
  const { [kind]: entries } = data
  if (!Array.isArray(entries)) return [{ path: `/${kind}`, message: 'must be a list' }]
  if (entries.length > ENTRIES_MAX) {
    return [{ path: `/${kind}`, message: `has more than ${ENTRIES_MAX} entries` }]
  }
  const check = kind === 'connections' ? connectionProblem : subscriptionProblem
  return [
    ...entries.flatMap((entry, index) => problemAt(`/${kind}/${index}`, check(entry))),
    ...(kind === 'connections' ? headProblems(data) : []),
  ]
}

function deviceProblems(data: Json): readonly ChannelDataProblem[] {
  const name = data['devices'] === undefined ? 'tokens' : 'devices'
  const entries = data[name]
  if (!Array.isArray(entries)) {
    return [{ path: `/${name}`, message: 'must be a list; give "tokens" or "devices"' }]
  }
  if (entries.length > ENTRIES_MAX) {
    return [{ path: `/${name}`, message: `has more than ${ENTRIES_MAX} entries` }]
  }
  const check = name === 'tokens' ? textProblem : deviceProblem
  return entries.flatMap((entry, index) => problemAt(`/${name}/${index}`, check(entry)))
}

function headProblems(data: Json): readonly ChannelDataProblem[] {
  const { token, ms_teams_tenant_id: tenant } = data
  const isToken = token == null || (isJsonObject(token) && isTextOrNull(token['access_token']))
  return [
    ...problemAt('/token', isToken ? undefined : 'must hold an access_token'),
    ...problemAt(
      '/ms_teams_tenant_id',
      isTextOrNull(tenant) ? undefined : 'must be a text or null',
    ),
  ]
}

function problemAt(path: string, message: string | undefined): readonly ChannelDataProblem[] {
  return message === undefined ? [] : [{ path, message }]
}

function textProblem(value: unknown): string | undefined {
  if (isText(value)) return undefined
  return `must be a text of 1 to ${TEXT_LENGTH_MAX} characters`
}

function deviceProblem(value: unknown): string | undefined {
  if (!isJsonObject(value)) return 'must be an object'
  if (!isText(value['token'])) return 'must hold a token'
  const isKnown = isTextOrNull(value['locale']) && isTextOrNull(value['timezone'])
  return isKnown ? undefined : 'locale and timezone must be texts or null'
}

/** As a browser gives it: `PushSubscription.toJSON()`. */
function subscriptionProblem(value: unknown): string | undefined {
  if (!isJsonObject(value)) return 'must be an object'
  const { endpoint, keys } = value
  if (!isText(endpoint) || !/^https?:\/\//.test(endpoint)) return 'must hold an endpoint'
  const hasKeys = isJsonObject(keys) && isText(keys['p256dh']) && isText(keys['auth'])
  return hasKeys ? undefined : 'must hold the keys p256dh and auth'
}

function connectionProblem(value: unknown): string | undefined {
  if (!isJsonObject(value)) return 'must be an object'
  const { incoming_webhook: webhook, ...texts } = value
  if (!Object.values(texts).every(isTextOrNull)) return 'must hold texts and nulls only'
  if (webhook === undefined) {
    const names = PLACES.some((place) => isText(texts[place]))
    return names ? undefined : 'names neither a place nor an incoming_webhook'
  }
  const isWebhook = isJsonObject(webhook) && isText(webhook['url'])
  return isWebhook ? undefined : 'incoming_webhook must hold a url'
}

/** Checked data as it is kept: devices in one form, and nothing that means nothing. */
export function normalChannelData(kind: ChannelDataKind, data: Json): Json {
  if (kind === 'connections') {
    const { connections, token = null, ms_teams_tenant_id: tenant = null } = data
    return {
      connections,
      ...(token !== null && { token }),
      ...(tenant !== null && { ms_teams_tenant_id: tenant }),
    }
  }
  if (kind === 'subscriptions') return { subscriptions: data['subscriptions'] }
  const given = (data['devices'] ?? data['tokens']) as readonly (string | Json)[]
  const devices = given.map((device) => {
    if (typeof device === 'string') return { token: device, locale: null, timezone: null }
    const { token, locale = null, timezone = null } = device
    return { token, locale, timezone }
  })
  const byToken = new Map(devices.map((device) => [device.token, device]))
  return { devices: [...byToken.values()] }
}

/** Kept data in the contract's shape: devices also as a list of tokens. */
export function channelDataToWire(data: Json): Json {
  const { devices } = data
  if (!Array.isArray(devices)) return data
  return { tokens: devices.map((device: Json) => device['token']), devices }
}

/** The addresses in kept data, of whatever kind it is. */
export function addressesOf(data: Json | undefined): readonly Address[] {
  if (data === undefined) return []
  const { devices, subscriptions, connections, token } = data
  if (Array.isArray(devices)) return devices as readonly Json[]
  if (Array.isArray(subscriptions)) {
    return subscriptions.map((one: Json) => ({ token: one['endpoint'], subscription: one }))
  }
  if (!Array.isArray(connections)) return []
  const shared = isJsonObject(token) ? token['access_token'] : undefined
  // A connection's own token is the better one.
  return connections.map((one: Json) =>
    isText(shared) && one['access_token'] == null ? { ...one, access_token: shared } : one,
  )
}

/** Texts of a content that give access to something, and so must not stand in a log. */
export function contentSecrets(content: MessageContent): readonly string[] {
  if (content.type === 'push') {
    const { subscription } = content
    return subscription ? [subscription.keys.auth, ...urlSecrets(subscription.endpoint)] : []
  }
  if (content.type !== 'chat') return []
  const { access_token: token } = content.connection
  return [...(isText(token) ? [token] : []), ...urlSecrets(webhookUrl(content.connection))]
}

/** A URL that gives access, as a whole and as what a server sees of it. */
function urlSecrets(text: string | undefined): readonly string[] {
  if (text === undefined || !URL.canParse(text)) return []
  const { pathname, search } = new URL(text)
  // A short one is no secret, and masking it would blot out half a log.
  return [text, pathname + search, pathname].filter(({ length }) => length >= SECRET_LENGTH_MIN)
}

/** The address of the incoming webhook of a connection, where it is one. */
export function webhookUrl(connection: ChatContent['connection']): string | undefined {
  const { incoming_webhook: webhook } = connection
  if (!isJsonObject(webhook)) return undefined
  return isText(webhook['url']) ? webhook['url'] : undefined
}

function isTextOrNull(value: unknown): boolean {
  return value === undefined || value === null || isText(value)
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= TEXT_LENGTH_MAX
}
