/** The setting of every push channel that says whether devices that are no more are forgotten. */
export const deregistrationSchema = {
  description:
    'Whether a device that is no more is taken out of the channel data; true unless told.',
  type: 'boolean',
} as const

/** What the services take of one notification. */
export const PUSH_BYTES_MAX = 4_096

/** How long a notification is still worth keeping, in whole seconds; undefined: as long as the service likes. */
export function secondsLeft(expiresAt: Date | null | undefined, now: Date): number | undefined {
  if (!expiresAt) return undefined
  return Math.max(Math.floor((expiresAt.getTime() - now.getTime()) / 1000), 0)
}

/** The header by which Apple is told when a notification is worth nothing any more. */
export function apnsExpiration(
  expiresAt: Date | null | undefined,
): Readonly<Record<string, string>> {
  return expiresAt ? { 'apns-expiration': String(Math.floor(expiresAt.getTime() / 1000)) } : {}
}
