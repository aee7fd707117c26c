import { RequestError, type Violation } from '../errors.ts'
import type { BulkKind } from '../recipients/bulk-work.ts'
import { BodyReader } from '../runs/trigger-request.ts'
import { requireScope } from './auth.ts'
import { cutPart, itemList, startItems, writeEach } from './bulk-parts.ts'
import { readReference, type WireReference } from './reference.ts'
import type { MutationRoute } from './route.ts'
import { BulkOperation, RecipientRequest } from './shapes/recipients.ts'
import { checkSize, checkTiming, timingFields } from './schedule-body.ts'
import { createSchedules, readSchedules, type NewSchedules } from './schedule-create.ts'

/** How many schedules one part makes. */
const PART_MAX = 100

interface Body {
  readonly schedules: readonly (Omit<NewSchedules, 'recipients'> & {
    readonly recipient: unknown
  })[]
}

const create: MutationRoute = {
  id: 'schedules.bulk.create',
  summary: 'Makes many schedules',
  replies: { 200: BulkOperation },
  kind: 'mutation',
  method: 'POST',
  path: '/v1/schedules/bulk/create',
  scope: 'write',
  environment: 'key',
  body: {
    type: 'object',
    required: ['schedules'],
    properties: {
      schedules: itemList({
        type: 'object',
        required: ['workflow', 'recipient'],
        properties: {
          workflow: { type: 'string', minLength: 1 },
          recipient: RecipientRequest,
          ...timingFields,
        },
      }),
    },
  },
  async handle(request) {
    requireScope(request.caller, 'trigger')
    const items = (request.body as Body).schedules.map(({ recipient, ...rest }): NewSchedules => {
      return { ...rest, recipients: [recipient] }
    })
    // What is wrong with one of them is said at once; what it runs into may be another thing by then.
    const problems = items.flatMap((item, index) =>
      problemsOf(item, request.now).map(within(index)),
    )
    const [first] = problems
    if (first)
      throw new RequestError(422, 'invalid_params', `${first.field} ${first.message}`, problems)
    const work = { name: 'schedules.create', total: items.length, request: { items } }
    return await startItems(request, work)
  },
}

function problemsOf(item: NewSchedules, now: Date): readonly Violation[] {
  const reader = new BodyReader()
  try {
    const planned = readSchedules(reader, item, now)
    reader.requireValid()
    checkSize(planned)
    checkTiming(planned)
    return []
  } catch (error) {
    if (error instanceof RequestError) return error.errors ?? []
    throw error
  }
}

/** As the call for many points at it. */
function within(index: number) {
  return ({ field, message }: Violation): Violation => {
    const own = field.replace(/^\/recipients\/0/, '/recipient')
    return { field: `/schedules/${index}${own}`, message }
  }
}

/** Makes the next of the schedules of one of these calls. */
export const createManySchedules: BulkKind = async (tx, { environment, request, cursor }, now) => {
  const { items } = request as { readonly items: readonly NewSchedules[] }
  const { part, next } = cutPart(items, cursor, PART_MAX)
  const refused = await writeEach(tx, part, (some) => createSchedules(tx, environment, some, now))
  const errors = refused.map(({ recipients: [recipient] }) =>
    readReference(recipient as WireReference),
  )
  return { processed: part.length, errors, cursor: next }
}

export const bulkSchedules = [create] as const
