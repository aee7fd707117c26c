/** Replies of the API, as far as commands show them. */
export interface WireList<Item> {
  readonly items: readonly Item[]
  readonly page_info: { readonly after: string | null }
}

export interface WireRun {
  readonly id: string
  readonly workflow_run_id: string
  readonly workflow: string
  readonly status: string
  readonly outcome: string | null
  readonly reason: string | null
  readonly recipient: unknown
  readonly tenant: string | null
  readonly revision: string
  readonly wakes_at: string | null
  readonly error_count: number
  readonly inserted_at: string
  readonly updated_at: string
}

export interface WireEvent {
  readonly event: string
  readonly status: 'ok' | 'error'
  readonly step_ref: string | null
  readonly step_type: string | null
  readonly attempt: number
  readonly data: Readonly<Record<string, unknown>> | null
  readonly inserted_at: string
}

export interface WireMessage {
  readonly id: string
  readonly status: string
  readonly reason: string | null
  readonly recipient: unknown
  readonly channel: { readonly key: string; readonly type: string }
  readonly source: { readonly key: string; readonly step_ref: string }
  readonly inserted_at: string
}

export interface WireWorkflow {
  readonly key: string
  /** Those that are off. */
  readonly switches: readonly {
    readonly channel: string | null
    readonly reason: string | null
    readonly expires_at: string | null
  }[]
}

export interface WireRevision {
  readonly sequence: number
  readonly revision: string
  readonly origin: string | null
  readonly applied_at: string
  readonly added: readonly string[]
  readonly changed: readonly string[]
  readonly archived: readonly string[]
  readonly rewritten_from: string | null
  readonly signer: string | null
}

export interface WireEnvironment {
  readonly name: string
  readonly ref: string
  readonly state: string
  readonly reason: string
  readonly message: string
  readonly observed_revision: string | null
  readonly attempted_revision: string | null
  readonly last_handled_request: string | null
  readonly applied_at: string | null
  readonly workflows: number
  readonly pinned: { readonly revision: string } | null
  readonly sending: {
    readonly active: boolean
    readonly reason: string | null
    readonly expires_at: string | null
  }
  readonly drift: {
    readonly found_at: string
    readonly outcome: string
    readonly count: number
    readonly paused_until: string | null
  } | null
  readonly diagnostics: readonly {
    readonly path: string
    readonly line: number
    readonly column: number
    readonly code: string
    readonly message: string
    readonly hint?: string
    readonly severity: string
  }[]
}
