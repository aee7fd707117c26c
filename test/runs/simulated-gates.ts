import type { GateAnswer, GateRequest } from '../../src/runs/gates.ts'
import type { Kept } from './simulated-runs.ts'

interface Window {
  readonly closesAt: Date
  readonly passes: number
}

/** The windows of throttles, in memory. */
export class SimulatedGates implements Kept {
  #windows = new Map<string, Window>()

  save(): () => void {
    const windows = new Map(this.#windows)
    return () => void (this.#windows = windows)
  }

  pass({ gate, limit, until }: GateRequest, now: number): GateAnswer {
    const key = JSON.stringify(gate)
    const known = this.#windows.get(key)
    const isOpen = known !== undefined && known.closesAt.getTime() > now
    const { closesAt, passes } = isOpen ? known : { closesAt: until, passes: 0 }
    const passed = passes < limit
    const window = { closesAt, passes: passed ? passes + 1 : passes }
    this.#windows.set(key, window)
    return { kind: 'gate', passed, ...window }
  }
}
