import { batch } from './batch.ts'
import { branch } from './branch.ts'
import { chat } from './chat.ts'
import { cohort } from './cohort.ts'
import { delay } from './delay.ts'
import { email } from './email.ts'
import { fetch } from './fetch.ts'
import { inApp } from './in-app.ts'
import { push } from './push.ts'
import { sms } from './sms.ts'
import type { StepBase, StepType } from './step.ts'
import { throttle } from './throttle.ts'
import { triggerWorkflow } from './trigger-workflow.ts'
import { updateData, updateObject, updateRecipient, updateTenant } from './update.ts'
import { waitForEvent } from './wait-for-event.ts'
import { webhook } from './webhook.ts'

/** Every type of step, by its name in a file. To add one: write its file, then name it here. */
export const stepTypes = {
  batch,
  branch,
  chat,
  cohort,
  delay,
  email,
  fetch,
  in_app: inApp,
  push,
  sms,
  throttle,
  trigger_workflow: triggerWorkflow,
  update_data: updateData,
  update_object: updateObject,
  update_recipient: updateRecipient,
  update_tenant: updateTenant,
  wait_for_event: waitForEvent,
  webhook,
} as const

type StepTypes = typeof stepTypes

/** A step of a workflow file, told apart by its `type`. */
export type Step = {
  [Name in keyof StepTypes]: StepTypes[Name] extends StepType<infer Type, infer Fields>
    ? StepBase & Fields & { readonly type: Type }
    : never
}[keyof StepTypes]

/** All types of step, as their common shape says them. */
export function listStepTypes(): readonly StepType<string, object>[] {
  return Object.values(stepTypes)
}

/** The type of a step, with its fields as the registry's common shape says them. */
export function stepTypeOf(step: StepBase): StepType<string, object> {
  const { type } = step as Step
  return stepTypes[type]
}
