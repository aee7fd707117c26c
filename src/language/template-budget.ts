import { stopwatch } from '../clock.ts'
import { TerminalFailure } from '../errors.ts'

/** Rounds of `each` in one render. */
export const ITERATIONS_MAX = 100_000
/** Characters of one render's output. */
export const OUTPUT_MAX = 5 * 2 ** 20
/** Values, helpers and partials in one render; a helper also pays for the text that it works on. */
const STEPS_MAX = 2_000_000
/** How deep partials include partials. */
const PARTIAL_DEPTH_MAX = 50
/** Characters of helper work that cost as much as one step. */
const CHARACTERS_PER_STEP = 32

/** A render, or what is made of its output, did more than it may; another attempt would, too. */
export class BudgetExceeded extends TerminalFailure {}

/** Milliseconds of one render. */
const TIME_MAX = 2_000
/** Steps between two looks at the time. */
const STEPS_PER_LOOK = 5_000

interface Budget {
  /** When the render began, in milliseconds of the process. */
  readonly began: number
  /** At how many steps the time is looked at next. */
  look: number
  iterations: number
  steps: number
  output: number
  depth: number
}

/** The budget of the render that is running; a render is synchronous, so there is one at a time. */
let budget = freshBudget()

function freshBudget(): Budget {
  const began = stopwatch()
  return { began, look: STEPS_PER_LOOK, iterations: 0, steps: 0, output: 0, depth: 0 }
}

/** Runs `render` on a fresh budget. */
export function withBudget<Result>(render: () => Result): Result {
  const outer = budget
  budget = freshBudget()
  try {
    return render()
  } finally {
    budget = outer
  }
}

/** Pays for one step and for the `characters` that it works on. Throws `BudgetExceeded`. */
export function chargeStep(characters = 0): void {
  budget.steps += 1 + characters / CHARACTERS_PER_STEP
  if (budget.steps < budget.look) return
  budget.look = budget.steps + STEPS_PER_LOOK
  if (budget.steps > STEPS_MAX) throw new BudgetExceeded('the template does too much work')
  checkTime()
}

/** To be called before and behind work that cannot be stopped on its way. Throws `BudgetExceeded`. */
export function checkTime(): void {
  if (stopwatch() - budget.began > TIME_MAX) {
    throw new BudgetExceeded('the template takes longer than 2 seconds')
  }
}

/** Pays for one value in the output. Throws `BudgetExceeded`. */
export function chargeOutput(characters: number): void {
  chargeStep()
  budget.output += characters
  if (budget.output > OUTPUT_MAX) throw new BudgetExceeded('the output is larger than 5 MB')
}

/** Runs one round of a loop and pays for its output, literal text included. Throws `BudgetExceeded`. */
export function chargeRound(round: () => string): string {
  budget.iterations += 1
  if (budget.iterations > ITERATIONS_MAX) {
    throw new BudgetExceeded(`the loops take more than ${ITERATIONS_MAX} rounds`)
  }
  return chargeText(round)
}

/** Runs a partial one level deeper and pays for its output. Throws `BudgetExceeded`. */
export function chargePartial(name: string, render: () => string): string {
  if (budget.depth >= PARTIAL_DEPTH_MAX) {
    throw new BudgetExceeded(
      `partial "${name}" is included more than ${PARTIAL_DEPTH_MAX} levels deep`,
    )
  }
  budget.depth += 1
  try {
    return chargeText(render)
  } finally {
    budget.depth -= 1
  }
}

/** What values and inner loops have paid for already is not paid twice. */
function chargeText(render: () => string): string {
  const before = budget.output
  const text = render()
  const paid = budget.output - before
  chargeOutput(Math.max(0, text.length - paid))
  return text
}
