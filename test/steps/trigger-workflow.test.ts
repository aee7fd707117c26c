import { expect, test } from 'vitest'
import { triggerWorkflow } from '../../src/steps/trigger-workflow.ts'
import type { StepRef } from '../../src/ids.ts'
import { aContext } from './context.ts'

const ref = 'start' as StepRef

test('leaves to the engine what the step leaves out', () => {
  expect(triggerWorkflow.execute({ ref, workflow: ' other ' }, aContext())).toEqual({
    kind: 'trigger',
    workflow: 'other',
    recipients: undefined,
    actor: undefined,
    tenant: undefined,
    data: undefined,
    cancellationKey: undefined,
  })
})

test('renders each of its fields as what it is', () => {
  const { example } = triggerWorkflow
  expect(triggerWorkflow.execute({ ref, ...example }, aContext())).toMatchObject({
    workflow: 'invoice-reminder',
    recipients: example.recipients,
    data: example.data,
    cancellationKey: example.cancellation_key,
  })
})

test('takes no secrets, which would be stored', () => {
  const fields = triggerWorkflow.templates({ ref, ...triggerWorkflow.example })
  expect(fields).toHaveLength(8)
  expect(fields.filter(({ secrets }) => secrets)).toEqual([])
})
