import type { StepRef } from '../ids.ts'
import type { JsonObject } from '../json.ts'
import type { Conditions } from '../language/conditions.ts'
import type { Duration } from '../language/durations.ts'
import type { OutputKind } from '../language/templates.ts'

export type { OutputKind }

/** What every step of a workflow file has. */
export interface StepBase {
  readonly ref: StepRef
  readonly name?: string
  readonly description?: string
  /** False: the step is skipped and the run goes on. */
  readonly conditions?: Conditions
}

/** A template as a file says it: the text itself, or a path relative to the workflow's directory. */
export type TemplateText = string | { readonly file: string }

/** A YAML tree whose string leaves are templates. */
export type TemplateTree =
  | TemplateText
  | number
  | boolean
  | null
  | readonly TemplateTree[]
  | { readonly [key: string]: TemplateTree }

/** One template of a step, for checks at reconcile time and for the list of what a version holds. */
export interface TemplateField {
  /** Path of the field inside the step, for the position of a diagnostic. */
  readonly path: readonly (string | number)[]
  readonly template: TemplateText
  readonly kind: OutputKind
  /** Whether secret variables may stand in it. */
  readonly secrets: boolean
}

export type ChannelType = 'email' | 'sms' | 'push' | 'chat' | 'in_app' | 'webhook'

/** A run as its steps see it. Everything is loaded before; a step does no I/O. */
export interface StepContext {
  readonly now: Date
  /** The recipient's zone, else the environment's; an IANA name. */
  readonly timeZone: string
  readonly scope: Scope
  /** When the step is reached again after its wait: the wait it asked for. */
  readonly waited: boolean
  /** Of a step that waits for an event: whether it has come. */
  readonly matched: boolean
  /** `skip_delay` of the trigger. */
  readonly skipDelay: boolean
  /** The data that attachments are taken from: of the trigger that opened the batch, else that of the scope. */
  readonly openingData: Readonly<Record<string, unknown>>
  /** The text of `template`, escaped for `kind`. Throws a `TerminalFailure` that says which template and where. */
  render(template: TemplateText, kind: OutputKind): string
  /** As `render`, inside the layout of that name (`_layouts/<name>.html.hbs` or `.mjml.hbs`); none where it is undefined. */
  renderHtml(template: TemplateText, layout: string | undefined): string
  /** HTML that is safe already, inside the layout of that name. */
  renderLayout(layout: string, content: string): string
  /** Renders a tree leaf by leaf; a leaf that is one expression keeps its type. Secrets stay placeholders. */
  renderTree(tree: TemplateTree): unknown
  /** Where the channel of the step reaches the recipient; empty for kinds that need no channel data. */
  readonly addresses: readonly Address[]
  /** Whether the version has a layout of this name. */
  hasLayout(name: string): boolean
}

/** One device, subscription or connection, out of the recipient's channel data. */
export type Address = Readonly<Record<string, unknown>>

/** What conditions and templates can name. */
export interface Scope {
  readonly recipient: Readonly<Record<string, unknown>>
  readonly actor: Readonly<Record<string, unknown>> | null
  readonly tenant: Readonly<Record<string, unknown>> | null
  readonly data: Readonly<Record<string, unknown>>
  readonly vars: Readonly<Record<string, unknown>>
  readonly workflow: Readonly<Record<string, unknown>>
  readonly run: Readonly<Record<string, unknown>>
  readonly refs: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  /** What ended the latest wait for an event; null where none has, or none came. */
  readonly event: Readonly<Record<string, unknown>> | null
  /** What a batch shows of what it collected, oldest first; of a run without a batch: its own trigger. */
  readonly activities: readonly Readonly<Record<string, unknown>>[]
  readonly actors: readonly Readonly<Record<string, unknown>>[]
  /** All, also those that are not shown. */
  readonly total_activities: number
  readonly total_actors: number
  /** The audiences that the recipient is in, where a condition may ask for them. */
  readonly $audiences?: readonly string[]
}

/** One entry of a run's timeline, before the engine adds the time and the step. */
export interface StepEvent {
  /** A word of docs/spec/timeline.md. */
  readonly event: string
  readonly status: 'ok' | 'error'
  readonly data?: Readonly<Record<string, unknown>>
}

/** What a step decides. The engine acts on it; a step has no other effect. */
export type Outcome =
  | { readonly kind: 'next'; readonly events?: readonly StepEvent[] }
  | { readonly kind: 'skip'; readonly reason: string; readonly events?: readonly StepEvent[] }
  | { readonly kind: 'wait'; readonly until: Date; readonly reason: string }
  | {
      readonly kind: 'message'
      readonly content: MessageContent
      /** The same for the recipient's further devices or connections: each is a message of its own. */
      readonly also?: readonly MessageContent[]
      readonly expiresAt?: Date
      /** When each of them may be handed over, in their order; at once where it is left out. */
      readonly scheduledAt?: readonly Date[]
      readonly events?: readonly StepEvent[]
    }
  /** Go on where the gate of this step and key lets the run pass: `limit` of them until the window closes. */
  | {
      readonly kind: 'throttle'
      /** '' where the step has none. */
      readonly key: string
      readonly limit: number
      /** When the window closes if this run opens it. */
      readonly until: Date
    }
  /** Open a batch and wait, join the one that is open, or be let through as its first. */
  | {
      readonly kind: 'batch'
      /** '' where the step has none, null where what it names is missing. */
      readonly key: string | null
      /** When the batch closes if this run opens it, and from now on where the window slides. */
      readonly until: Date
      /** Of a sliding window: how long after its opening the batch may stay open; null where it is fixed. */
      readonly extensionLimit: Duration | null
      readonly timeZone: string
      /** How many activities close the batch at once. */
      readonly maxItems: number | null
      readonly flushLeading: boolean
      /** Only runs of the same version are batched together. */
      readonly pinned: boolean
      readonly events?: readonly StepEvent[]
    }
  /** Start another workflow, then go on. What is undefined is as in the run. */
  | {
      readonly kind: 'trigger'
      readonly workflow: string
      /** As in the body of a trigger. */
      readonly recipients: unknown
      readonly actor: unknown
      readonly tenant: unknown
      readonly data: unknown
      readonly cancellationKey: string | undefined
    }
  /** Lay these properties over those of the target, then go on; null clears. */
  | {
      readonly kind: 'update'
      readonly target: UpdateTarget
      readonly properties: Readonly<Record<string, unknown>>
    }
  /** Make this request outside any transaction, put what is answered into the data of the run, then go on. */
  | { readonly kind: 'fetch'; readonly request: FetchContent }
  /** Go into the nested steps at `child` of this step's `children`. */
  | {
      readonly kind: 'enter'
      readonly child: number
      readonly events?: readonly StepEvent[]
    }
  /** Wait until such a thing happens to the recipient. */
  | { readonly kind: 'await'; readonly event: string; readonly until: Date }
  /** The run ends as if somebody had cancelled it. */
  | { readonly kind: 'cancel'; readonly reason: string }
  | { readonly kind: 'halt'; readonly reason: string; readonly events?: readonly StepEvent[] }

/** What a step changes: the run's recipient, tenant or data, or somebody named. */
export type UpdateTarget =
  | { readonly kind: 'recipient' }
  | { readonly kind: 'tenant' }
  | { readonly kind: 'data' }
  | { readonly kind: 'entity'; readonly collection: string; readonly id: string }

export interface ChildSteps {
  readonly name: string
  readonly steps: readonly StepBase[]
  /** Path of the list inside the step; conditions that guard it stand beside it. */
  readonly path: readonly (string | number)[]
  readonly conditions?: Conditions
  /** The run ends behind these steps. */
  readonly terminates?: boolean
}

/** A kind of step: its shape, its schema, an example that shows each field, and its behaviour. */
export interface StepType<Type extends string, Fields extends object> {
  readonly type: Type
  /** One line for the docs. */
  readonly summary: string
  /** JSON Schema of the fields beyond the common ones. */
  readonly schema: {
    readonly required: readonly string[]
    readonly properties: Readonly<Record<string, object>>
  }
  /** Every field once; the compiler holds it to the interface, a test to the schema. */
  readonly example: Required<Fields>
  /** Set for a step that sends: what kind of channel it needs. */
  readonly channelType?: ChannelType
  /** Conditions on a branch step are refused. */
  readonly conditional: boolean
  templates(step: StepBase & Fields): readonly TemplateField[]
  /** Paths into the scope that the step reads by itself, each with its place inside the step. */
  paths?(step: StepBase & Fields): readonly {
    readonly path: readonly (string | number)[]
    readonly value: string
    /** Whether a secret variable may stand there. */
    readonly secrets?: boolean
    /** Whether the step fails without it. */
    readonly required?: boolean
  }[]
  children?(step: StepBase & Fields): readonly ChildSteps[]
  /** Conditions beside the common ones, each with its place inside the step. */
  conditions?(
    step: StepBase & Fields,
  ): readonly { readonly path: readonly string[]; readonly conditions: Conditions }[]
  /** Problems that a schema cannot say, each with the path inside the step. */
  check?(step: StepBase & Fields): readonly {
    readonly path: readonly (string | number)[]
    readonly code: string
    readonly message: string
    readonly hint?: string
  }[]
  execute(step: StepBase & Fields, context: StepContext): Outcome
}

/** What a message says, by the kind of its channel. Rendered once, when the step runs. */
export type MessageContent =
  | ChatContent
  | EmailContent
  | InAppContent
  | PushContent
  | SmsContent
  | WebhookContent

/** By provider: what is laid over the body of its request. */
export type Overrides = Readonly<Record<string, JsonObject>>

/** What the contents have that a service takes by a request. */
interface Overridable {
  readonly overrides?: Overrides
}

export interface PushContent extends Overridable {
  readonly type: 'push'
  /** The device; of a browser, the endpoint of its subscription. */
  readonly token: string
  readonly subscription?: {
    readonly endpoint: string
    readonly keys: { readonly p256dh: string; readonly auth: string }
  }
  readonly title: string
  readonly body: string
  readonly data: Readonly<Record<string, unknown>> | null
  readonly silent: boolean
}

export interface ChatContent extends Overridable {
  readonly type: 'chat'
  /** As the recipient's channel data says it; may hold a token or a URL that gives access. */
  readonly connection: Address
  /** Either this or blocks. */
  readonly markdown: string | null
  /** In the shape of the service. */
  readonly blocks: readonly unknown[] | null
  readonly summary: string | null
}

export interface SmsContent extends Overridable {
  readonly type: 'sms'
  /** A phone number, as the step or the recipient says it. */
  readonly to: string
  readonly body: string
}

export interface EmailContent extends Overridable {
  readonly type: 'email'
  /** Where the step names one; else the recipient's own address. One addr-spec. */
  readonly to: string
  readonly from: string | null
  readonly reply_to: string | null
  readonly cc: readonly string[]
  readonly bcc: readonly string[]
  readonly subject: string
  readonly html: string
  readonly text: string
  readonly headers: Readonly<Record<string, string>>
  readonly attachments: readonly Attachment[]
}

export interface Attachment {
  readonly name: string
  readonly content_type: string
  /** Base64. */
  readonly content: string
  readonly content_id?: string
  readonly disposition?: 'attachment' | 'inline'
}

export interface InAppContent {
  readonly type: 'in_app'
  /** Markdown as written, and the safe HTML made from it. */
  readonly body: { readonly content: string; readonly rendered: string }
  readonly action_url: string | null
  readonly buttons: readonly { readonly label: string; readonly action: string }[]
}

export interface WebhookContent extends RequestContent {
  readonly type: 'webhook'
}

/** An HTTP request, rendered. */
export interface RequestContent {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly query: Readonly<Record<string, string>>
  readonly body: unknown
  /** Placeholders that stand in the fields above, and the secret variable each stands for. */
  readonly secrets: Readonly<Record<string, string>>
}

/** A request whose answer a run waits for. */
export interface FetchContent extends RequestContent {
  /** The variable of the environment that holds the key of its signature. */
  readonly signWith: string | null
}
