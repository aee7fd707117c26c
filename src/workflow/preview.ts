import { messageOf, TerminalFailure } from '../errors.ts'
import { smsParts } from '../language/sms-parts.ts'
import { TemplateError } from '../language/templates.ts'
import { stepTypeOf, type Step } from '../steps/index.ts'
import type {
  Address,
  ChannelType,
  MessageContent,
  Outcome,
  Scope,
  StepContext,
} from '../steps/step.ts'
import { chooseChannel } from './channel.ts'
import { UNSUBSCRIBE_VARIABLE } from './check.ts'
import type { EnvironmentSettings } from './environment.ts'
import { rendererOf, type RenderedVersion } from './render.ts'
import type { Sample } from './sample.ts'
import { listSteps } from './walk.ts'
import { workflowScope, type Version, type Workflow } from './workflow.ts'

/** Each message of a workflow, as a sample makes it. */
export interface Preview {
  readonly workflow: string
  /** Null: made up, since the workflow has none. */
  readonly sample: string | null
  readonly messages: readonly PreviewedMessage[]
}

export interface PreviewedMessage {
  readonly step: string
  readonly channel: {
    readonly key: string | null
    readonly type: string
    readonly provider: string | null
  }
  readonly recipient: Readonly<Record<string, unknown>>
  /** Null where it could not be rendered, or nothing would be sent. */
  readonly content: MessageContent | null
  readonly diagnostics: readonly PreviewProblem[]
}

/** What is wrong with a message, or worth knowing; line and column are those of the template. */
export interface PreviewProblem {
  readonly severity: 'error' | 'warning'
  readonly code: string
  readonly message: string
  readonly template?: string
  readonly line?: number
  readonly column?: number
}

export interface PreviewRequest {
  readonly version: RenderedVersion & Pick<Version, 'workflow'>
  readonly settings: EnvironmentSettings
  readonly sample: Sample
  /** Only the message of this step. */
  readonly step?: string | undefined
  readonly now: Date
}

/** Gmail shows no more of a mail. */
const CLIPPED_BYTES = 102 * 1024

/**
 * Renders every message that a workflow can make, whatever its conditions and branches: they decide
 * what is sent, and a preview is about what it looks like. Nothing is stored or sent.
 */
export function previewWorkflow(request: PreviewRequest): Preview {
  const { version, sample, step } = request
  const steps = listSteps(version.workflow.steps).map((placed) => placed.step)
  const sending = steps.filter((one) => stepTypeOf(one).channelType !== undefined)
  const chosen = step === undefined ? sending : sending.filter(({ ref }) => ref === step)
  return {
    workflow: version.key,
    sample: sample.name === '' ? null : sample.name,
    messages: chosen.map((one) => previewStep(one, request)),
  }
}

function previewStep(step: Step, request: PreviewRequest): PreviewedMessage {
  const { version, settings, sample } = request
  const type = stepTypeOf(step)
  const channelType = type.channelType ?? 'email'
  const choice = chooseChannel(settings, 'channel' in step ? step.channel : undefined, channelType)
  const channel = choice.kind === 'channel' ? choice.channel : undefined
  const mayHoldSecrets = type.templates(step).some(({ secrets }) => secrets)
  const scope = scopeOf(request, mayHoldSecrets)
  const now = sample.timestamp === undefined ? request.now : new Date(sample.timestamp)
  const context: StepContext = {
    ...rendererOf(version, { now, scope, settings }),
    now,
    scope,
    waited: false,
    matched: false,
    addresses: ADDRESSES[channelType],
    skipDelay: false,
    openingData: scope.data,
  }
  return {
    step: step.ref,
    channel: { key: channel?.key ?? null, type: channelType, provider: channel?.provider ?? null },
    recipient: scope.recipient,
    ...outcomeOf(() => type.execute(step, context)),
  }
}

function outcomeOf(execute: () => Outcome): Pick<PreviewedMessage, 'content' | 'diagnostics'> {
  try {
    const outcome = execute()
    if (outcome.kind === 'message') {
      return { content: outcome.content, diagnostics: worthKnowing(outcome.content) }
    }
    const reason = outcome.kind === 'skip' ? outcome.reason : outcome.kind
    const message = 'nothing would be sent: the sample lacks what the message needs'
    return { content: null, diagnostics: [{ severity: 'warning', code: reason, message }] }
  } catch (error) {
    if (!(error instanceof TerminalFailure)) throw error
    return { content: null, diagnostics: [problemOf(error)] }
  }
}

function problemOf(error: TerminalFailure): PreviewProblem {
  const message = messageOf(error)
  if (!(error instanceof TemplateError)) return { severity: 'error', code: 'step_failed', message }
  const { code, template, line, column } = error
  return {
    severity: 'error',
    code,
    message,
    template,
    ...(line !== undefined && { line }),
    ...(column !== undefined && { column }),
  }
}

function worthKnowing(content: MessageContent): readonly PreviewProblem[] {
  if (content.type === 'sms') return worthKnowingOfSms(content.body)
  if (content.type !== 'email') return []
  const found: PreviewProblem[] = []
  const bytes = Buffer.byteLength(content.html)
  if (bytes > CLIPPED_BYTES) {
    const message = `the HTML has ${Math.ceil(bytes / 1024)} kB; Gmail shows the first 102`
    found.push({ severity: 'warning', code: 'mail_clipped', message })
  }
  if (content.subject === '') {
    found.push({ severity: 'warning', code: 'empty_subject', message: 'the subject is empty' })
  }
  return found
}

/** Some foreign letters stand there by chance; a text of many is written in another alphabet. */
const CHANCE_LETTERS_MAX = 3

function worthKnowingOfSms(body: string): readonly PreviewProblem[] {
  const { parts, foreign, without } = smsParts(body)
  if (parts === without || foreign.length > CHANCE_LETTERS_MAX) return []
  const letters = foreign.join(' ')
  const message = `${letters} is not in the alphabet of text messages, so that this is sent in ${parts} parts instead of ${without}`
  return [{ severity: 'warning', code: 'sms_parts', message }]
}

/** Who receives where the sample does not say. */
const SOMEBODY = {
  id: 'sample',
  name: 'Ada Example',
  email: 'ada@example.com',
  phone_number: '+12025550123',
}

/** Where somebody is reached. Always made up: what is kept of a recipient may hold a token. */
const ADDRESSES: Readonly<Record<ChannelType, readonly Address[]>> = {
  email: [],
  sms: [],
  push: [{ token: 'sample-device' }],
  chat: [{ channel_id: 'sample-channel' }],
  in_app: [],
  webhook: [],
}

function scopeOf({ version, settings, sample }: PreviewRequest, mayHoldSecrets: boolean): Scope {
  const { key, workflow } = version
  const recipient = { ...SOMEBODY, ...sample.recipient }
  const actor = sample.actor ?? null
  const data = sample.data ?? {}
  const activities = sample.activities ?? [{ data, actor }]
  const actors = [...new Set(activities.flatMap(({ actor: one }) => (one ? [one] : [])))]
  const totals = {
    total_activities: sample.total_activities ?? activities.length,
    total_actors: actors.length,
  }
  return {
    recipient,
    actor,
    tenant: sample.tenant ?? null,
    data,
    vars: { ...varsOf(settings, mayHoldSecrets), ...linkVars(workflow), ...sample.vars },
    workflow: { ...workflowScope(key, workflow), cancellation_key: null },
    run: { id: 'sample', ...totals },
    refs: sample.refs ?? {},
    event: sample.event ?? null,
    activities: activities.map((one) => ({
      ...one.data,
      data: one.data ?? {},
      actor: one.actor ?? null,
      recipient,
      inserted_at: one.inserted_at ?? sample.timestamp ?? null,
    })),
    actors,
    ...totals,
  }
}

/** What commercial workflows find beside the variables of the environment. */
function linkVars({ commercial, override_preferences: overrides }: Workflow): Scope['vars'] {
  if (commercial !== true || overrides === true) return {}
  return { [UNSUBSCRIBE_VARIABLE]: 'https://example.com/unsubscribe/sample' }
}

/** The environment's variables; a secret is shown by its name. */
function varsOf({ variables }: EnvironmentSettings, mayHoldSecrets: boolean): Scope['vars'] {
  return Object.fromEntries(
    Object.entries(variables).flatMap(([name, variable]): [string, unknown][] => {
      if ('value' in variable) return [[name, variable.value]]
      return mayHoldSecrets ? [[name, `secret-${name}`]] : []
    }),
  )
}
