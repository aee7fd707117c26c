import { activate } from './activate.ts'
import { cancel } from './cancel.ts'
import type { Command } from './command.ts'
import { deactivate } from './deactivate.ts'
import { doctor } from './doctor.ts'
import { init } from './init.ts'
import { keys } from './keys.ts'
import { messages } from './messages.ts'
import { pin } from './pin.ts'
import { plan } from './plan.ts'
import { preview } from './preview.ts'
import { promote } from './promote.ts'
import { reconcile } from './reconcile.ts'
import { retire } from './retire.ts'
import { run } from './run.ts'
import { runs } from './runs.ts'
import { schema } from './schema.ts'
import { serve } from './serve.ts'
import { status } from './status.ts'
import { suspend } from './suspend.ts'
import { trigger } from './trigger.ts'
import { validate } from './validate.ts'

/** Every command, as the help lists them. To add one: write its file, then name it here. */
export const commands: readonly Command[] = [
  serve,
  init,
  validate,
  preview,
  plan,
  promote,
  status,
  reconcile,
  pin,
  suspend,
  retire,
  trigger,
  cancel,
  runs,
  run,
  messages,
  activate,
  deactivate,
  keys,
  schema,
  doctor,
]
