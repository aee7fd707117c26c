/** The setting of every push channel that says whether devices that are no more are forgotten. */
export const deregistrationSchema = {
  description:
    'Whether a device that is no more is taken out of the channel data; true unless told.',
  type: 'boolean',
} as const

/** What the services take of one notification. */
export const PUSH_BYTES_MAX = 4_096
