/** A frame of the protocol: an array of five, in this order. */
export interface Frame {
  /** Names the join that the frame belongs to. */
  readonly joinRef: string | null
  /** Names the frame, for its reply. */
  readonly ref: string | null
  readonly topic: string
  readonly event: string
  readonly payload: unknown
}

const TEXT_LENGTH_MAX = 1_024

/** Reads a frame; undefined for what is none. */
export function readFrame(text: string): Frame | undefined {
  const value = parse(text)
  if (!Array.isArray(value) || value.length !== 5) return undefined
  const [joinRef, ref, topic, event, payload] = value as unknown[]
  if (!isRef(joinRef) || !isRef(ref) || !isText(topic) || !isText(event)) return undefined
  return { joinRef, ref, topic, event, payload }
}

export function writeFrame({ joinRef, ref, topic, event, payload }: Frame): string {
  return JSON.stringify([joinRef, ref, topic, event, payload])
}

/** Answers a frame. */
export function replyTo(frame: Frame, status: 'ok' | 'error', response: object): string {
  return writeFrame({ ...frame, event: 'phx_reply', payload: { status, response } })
}

function isRef(value: unknown): value is string | null {
  return value === null || isText(value)
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= TEXT_LENGTH_MAX
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
