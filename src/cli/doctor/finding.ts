/** How one thing stands that Belfry needs. */
export interface Finding {
  readonly state: 'ok' | 'warning' | 'problem'
  /** What it is about. */
  readonly about: About
  readonly message: string
  /** What to do; where nothing is wrong there is nothing to do. */
  readonly fix?: string
}

export type About =
  | 'settings'
  | 'node'
  | 'disk'
  | 'targets'
  | 'watcher'
  | 'git'
  | 'environments'
  | 'secrets'
  | 'providers'
  | 'reports'
  | 'public_url'
  | 'server'
  | 'database'
  | 'processes'
  | 'webhooks'

export function fine(about: About, message: string): Finding {
  return { state: 'ok', about, message }
}

export function warning(about: About, message: string, fix: string): Finding {
  return { state: 'warning', about, message, fix }
}

/** What keeps something from working. */
export function wrong(about: About, message: string, fix: string): Finding {
  return { state: 'problem', about, message, fix }
}
